"""What the tests of the poll scheduler share."""

from __future__ import annotations

from datetime import UTC, datetime

from smsc_status import MessageRef, StatusRecord
from smsc_status._core.tracking.polling import PollScheduler
from smsc_status._core.tracking.tracked import Policy, Tracked


def plan(**options: float) -> PollScheduler:
    return PollScheduler(Policy(**options), max_bulk=10, cycle=61.0, slots=4, checks=5)


def bulk(p: PollScheduler, *, now: float) -> list[Tracked]:
    """What goes into a bulk request of ten, if one of the messages is due."""
    p.call_last(now=now)
    return p.take(10, now=now) if p.due_at() <= now else []


def ref(id: int, sent_at: float | None = None) -> MessageRef:
    return MessageRef(id, "79990000000", None if sent_at is None else datetime.fromtimestamp(sent_at, UTC))


def due_of(item: Tracked) -> float:
    assert item.due_bucket is not None
    return item.due_bucket.at


def is_just_after(at: float, expected: float, *, grain: float) -> bool:
    return expected - 1e-6 <= at < expected + grain


def asked(p: PollScheduler, item: Tracked, *, now: float, status: int = 0) -> float:
    """Take in an answer, and put the message back; when it is due then."""
    p.polled(item, StatusRecord(status=status), done=False, now=now)
    p.put_back(item, now=now)
    return due_of(item)
