"""The guarantee: any bytes, at any level, singly or in bulk, give records or an error of ours, in bounded time.

A record's values are of the declared kinds, what a message gets does not name another one, and it does not depend on
which way of reading was taken.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from time import process_time
from unittest.mock import patch

from smsc_status import ApiError, Detail, Format, HlrRecord, MessageRef, ProtocolError, StatusRecord, TransportError
from smsc_status._core.drafts import bind
from smsc_status._core.wire import codecs, jsonfast, lineup, portions, protocol, replytext, xmlform
from smsc_status._core.wire.codecs import CHARSETS, BadRow
from smsc_status._core.wire.protocol import Outcome, Wire
from smsc_status.models import MOSCOW, Identity, id_key, phone_key

CHECKED_AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
ASKED: list[Identity] = [(5, "79990000001"), (6, "79990000002"), ("a-7", "79990000003"), (8, "bob@example.ru")]
MAILING: list[Identity] = [(5, phone) for _, phone in ASKED]

INTS = {"status", "last_timestamp", "flag", "err", "send_timestamp", "type", "sms_cnt"}
TEXTS = {
    "last_date", "send_date", "phone", "sender_id", "status_name", "message", "comment", "mccmnc", "country",
    "operator", "operator_orig", "region",
}  # fmt: skip
HLR_TEXTS = {"imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet"}

PORTIONS = [(jsonfast, "PORTION"), (replytext, "DECODED"), (portions, "ROWS"), (xmlform, "ROWS"), (lineup, "LINES")]

SECONDS = 0.5
SECONDS_A_BYTE = 30e-6


def try_reply(format: Format, data: bytes) -> None:
    """Read a reply; its first two bytes say how it was asked for, and how long the portions are."""
    how, body = data[:2].ljust(2, b"\0"), data[2:]
    bulk = bool(how[0] & 4)
    asked = MAILING if how[0] & 8 else ASKED
    with ExitStack() as patches:
        if size := how[0] >> 4:
            for module, name in PORTIONS:
                patches.enter_context(patch.object(module, name, size))
        check(
            body,
            format=format,
            detail=Detail(how[0] % 4 % 3),
            charset=CHARSETS[how[1] % len(CHARSETS)],
            asked=asked if bulk else asked[:1],
            bulk=bulk,
        )


def check(
    body: bytes, *, format: Format, detail: Detail, charset: str, asked: list[Identity], bulk: bool
) -> list[Outcome] | Exception:
    """Read a reply and look at all that came of it."""
    began_at = process_time()
    verdict = protocol.read(Wire(format, charset), 200, {}, body, asked=asked, bulk=bulk, detail=detail)
    took = process_time() - began_at
    assert took < SECONDS + len(body) * SECONDS_A_BYTE, f"{took:.2f} s for {len(body)} bytes"
    if not isinstance(verdict, list):
        assert isinstance(verdict, ApiError | ProtocolError | TransportError), repr(verdict)
        assert len(str(verdict)) < 1000 or isinstance(verdict, ApiError)
        return verdict
    assert len(verdict) == len(asked)
    text = body.decode(charset, "replace")
    for outcome, whose in zip(verdict, asked, strict=True):
        if isinstance(outcome, StatusRecord):
            _check_kinds(outcome)
            _check_whose(outcome, whose)
            if format in (Format.PLAIN, Format.CSV):
                _check_is_said(outcome, text)
            _look_at(outcome, whose)
        else:
            assert outcome is None or type(outcome) is ProtocolError, repr(outcome)
    if format in (Format.XML, Format.JSON):
        _check_other_way(body, format=format, detail=detail, charset=charset, asked=asked, bulk=bulk)
    return verdict


def _check_kinds(record: StatusRecord) -> None:
    assert type(record) in (StatusRecord, HlrRecord)
    for name in INTS:
        value = getattr(record, name)
        assert type(value) is int or (value is None and name != "status"), name
        assert value is None or abs(value) < 10**18, name
    for name in TEXTS | (HLR_TEXTS if isinstance(record, HlrRecord) else set()):
        value = getattr(record, name)
        assert value is None or type(value) is str, name
        assert value is None or value.encode() is not None  # no half of a character
    assert type(record.unclear) is tuple
    assert set(record.unclear) <= INTS | TEXTS | HLR_TEXTS | {"cost"}
    assert not set(record.unclear) & {"status", "phone"}
    assert record.cost is None or (type(record.cost) is Decimal and record.cost.is_finite())
    assert record.id is None or type(record.id) in (int, str)
    assert record.ref is None
    assert record.checked_at is None
    assert record.timezone is MOSCOW


def _check_whose(record: StatusRecord, whose: Identity) -> None:
    if record.id is not None:
        assert id_key(record.id) == whose[0]
    phone = phone_key(record.phone or "")
    if phone and phone != whose[1]:
        assert "@" not in phone + whose[1]
        assert phone[-10:] == whose[1][-10:]


def _check_is_said(record: StatusRecord, text: str) -> None:
    """Where nothing is quoted, each text stands in the reply as it is."""
    for name in TEXTS:
        value = getattr(record, name)
        assert value is None or value in text, name


def _look_at(record: StatusRecord, whose: Identity) -> None:
    """Nothing that a caller may ask a record for is an error."""
    bind(record, MessageRef(*whose), CHECKED_AT, MOSCOW)
    assert repr(record)
    for view in ("changed_at", "sent_at", "is_final", "is_delivered", "is_found", "channel", "flags"):
        getattr(record, view)
    assert record.status_title is None or record.status_title.en
    assert record.error_title is None or record.error_title.en


def _check_other_way(
    body: bytes, *, format: Format, detail: Detail, charset: str, asked: list[Identity], bulk: bool
) -> None:
    """What stands beside the records takes the reply another way, to the same records."""
    if format is Format.XML:
        other, extra = body + b"<!-- -->", 0
    else:
        start = body.find(b"[")
        if body[:start].strip():
            return
        other, extra = body[: start + 1] + b"NaN, " + body[start + 1 :], 1
    try:
        rows = codecs.decode(body, format=format, detail=detail, charset=charset, asked=asked, bulk=bulk)
        others = codecs.decode(other, format=format, detail=detail, charset=charset, asked=asked, bulk=bulk)
    except ProtocolError:
        return
    if not isinstance(rows, list) or not isinstance(others, list) or len(others) != len(rows) + extra:
        return
    for row, other_row in zip(rows, others[extra:], strict=True):
        if not isinstance(row, BadRow) and not isinstance(other_row, BadRow):
            assert row == other_row
