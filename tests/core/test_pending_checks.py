"""Who waits for a message: the rank of a check follows those who wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import attrs
import pytest

from smsc_status import Detail, Limits, MessageRef, ProtocolError, SmscError, StatusRecord
from smsc_status._core.scheduling.backoff import Outage
from smsc_status._core.scheduling.checks import PendingCheck
from smsc_status._core.scheduling.dispatch import Dispatcher
from smsc_status._core.scheduling.pacing import Pacer
from smsc_status._core.scheduling.pending import CALLER_HEAD_START, PendingChecks

PHONE = "79990000000"
ERROR = ProtocolError("no")


@attrs.define(eq=False)
class Waiting:
    """Somebody who waits for a message."""

    ref: MessageRef
    start_by: float = inf
    link: object = None
    has_plan: bool = False
    outcomes: list[StatusRecord | SmscError] = attrs.field(factory=list)

    def on_result(self, outcome: StatusRecord | SmscError) -> None:
        self.outcomes.append(outcome)


class AtOnce:
    """An outbox that does everything at once."""

    is_busy = False

    def tell(self, subscriber: Waiting, outcome: StatusRecord | SmscError, /) -> None:
        subscriber.on_result(outcome)

    def forget(self, subscriber: object, /) -> None:
        pass

    def go_through(self, steps: Iterator[object], /) -> None:
        for _ in steps:
            pass

    def clear(self) -> None:
        pass


class Later(AtOnce):
    """An outbox that does nothing yet."""

    def go_through(self, steps: Iterator[object], /) -> None:
        pass


def pending_of(outbox: AtOnce | None = None) -> PendingChecks:
    return PendingChecks(Dispatcher(1000), Outage(), outbox or AtOnce())  # type: ignore[arg-type]  # of these alone


def ask(pending: PendingChecks, id: int, *, now: float, head_start: float = 0.0) -> tuple[PendingCheck, Waiting]:
    waiting = Waiting(MessageRef(id, PHONE))
    return pending.ask(Detail.BASIC, waiting, now=now, head_start=head_start), waiting


def first_sent(pending: PendingChecks, *, now: float) -> str:
    pacer = Pacer(Limits())
    request = pending.select(pacer, in_flight=0, now=now)
    assert request is not None
    sent = pending.commit(request)
    assert sent is request
    return sent.checks[0].id


@pytest.mark.parametrize("leaves", [True, False])
def test_a_caller_who_leaves_takes_the_head_start_with_him(leaves: bool) -> None:
    """A stream that waits for the same message goes on as if the caller had never come."""
    pending = pending_of()
    ask(pending, 1, now=500.0)
    check, _ = ask(pending, 2, now=600.0)
    _, caller = ask(pending, 2, now=650.0, head_start=CALLER_HEAD_START)
    assert pending.has_callers
    if leaves:
        pending.drop(check, caller)
    assert pending.has_callers is not leaves
    assert first_sent(pending, now=700.0) == ("1" if leaves else "2")


def test_a_message_that_has_waited_longer_than_its_caller_s_head_start_keeps_its_rank() -> None:
    pending = pending_of()
    check, _ = ask(pending, 1, now=100.0)
    ask(pending, 2, now=200.0)
    _, caller = ask(pending, 1, now=650.0, head_start=CALLER_HEAD_START)
    pending.drop(check, caller)
    assert not pending.has_callers
    assert first_sent(pending, now=700.0) == "1"


def test_a_head_start_stays_while_another_caller_waits() -> None:
    pending = pending_of()
    ask(pending, 1, now=500.0)
    check, caller = ask(pending, 2, now=600.0, head_start=CALLER_HEAD_START)
    ask(pending, 2, now=650.0, head_start=CALLER_HEAD_START)
    pending.drop(check, caller)
    assert pending.has_callers
    assert first_sent(pending, now=700.0) == "2"


def test_a_caller_may_leave_before_he_is_told_that_all_has_ended() -> None:
    pending = pending_of(Later())
    check, _ = ask(pending, 1, now=0.0)
    _, caller = ask(pending, 1, now=0.0, head_start=CALLER_HEAD_START)
    pending.fail_waiting(ERROR)
    pending.drop(check, caller)
    assert not pending.has_callers


def test_a_caller_who_leaves_while_his_message_is_selected_is_not_waited_for_again() -> None:
    pending = pending_of()
    check, _ = ask(pending, 1, now=0.0)
    _, caller = ask(pending, 1, now=0.0, head_start=CALLER_HEAD_START)
    assert pending.select(Pacer(Limits()), in_flight=0, now=0.0) is not None
    pending.drop(check, caller)
    pending.cancel_selection()
    assert not pending.has_callers


def test_only_a_check_that_waits_again_counts_as_put_back() -> None:
    """Not one for which nobody waits, one whose subscribers a newer check answers, or one that has been ended."""
    pending = pending_of()
    checks = [ask(pending, id, now=0.0) for id in (1, 2, 3, 4)]
    assert [first_sent(pending, now=0.0) for _ in checks] == ["1", "2", "3", "4"]
    pending.drop(*checks[1])
    twin = Waiting(MessageRef(3, PHONE))
    pending.ask(Detail.FULL, twin, now=0.0)
    assert [pending.put_back(check, ERROR) for check, _ in checks[:3]] == [True, False, False]
    pending.fail_waiting(ERROR)
    assert not pending.put_back(checks[3][0], ERROR)
    assert checks[3][1].outcomes == [ERROR]
