"""Law 3: what was not sent is `None`, what is unknown stays a number, and what can't be read is an error."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from helpers import PHONE, answered_by

from smsc_status import (
    Detail,
    FailedCheck,
    Format,
    HlrRecord,
    MessageRef,
    ProtocolError,
    SmscError,
    StatusRecord,
)
from smsc_status._core.wire import codecs
from smsc_status._core.wire.layouts import columns_of
from smsc_status._core.wire.protocol import Outcome, Wire, read
from smsc_status.codes import Channel
from smsc_status.emulator import World
from smsc_status.emulator._details import NASTY_COMMENTS, NASTY_TEXTS
from smsc_status.errors import EXCERPT_CHARS

NOW = 1795503600.0
OURS = {"ref", "checked_at", "timezone", "unclear"}
"""The fields of a record that the client sets itself."""

TEXTS = {"message", "comment"}
"""An empty one is sent as an empty text, which is not the same as none."""

each_form = pytest.mark.parametrize(
    ("format", "detail"),
    [pytest.param(f, d, id=f"{f.name}-{d.name}") for f in Format for d in Detail],
)
each_kind = pytest.mark.parametrize("hlr", [False, True], ids=["message", "look-up"])
each_size = pytest.mark.parametrize("bulk", [False, True], ids=["single", "bulk"])


def whole_record(number: int = 1, *, hlr: bool = False, **given: Any) -> StatusRecord:
    """A record with a value of its own in every field that a message, or a look-up, can have."""
    world = World(number)
    ref = world.add(
        number,
        f"7999{number:07}",
        sent_at=NOW - 3600 - number,
        kind=4 if hlr else 0,
        text=f"Text {number}",
        comment=None if hlr else f"Comment {number}",
        sender=f"Sender{number}",
        life=[(number, 1, 0)],
        **given,
    )
    record = world.record(ref.id, ref.phone, at=NOW)
    if isinstance(record, HlrRecord):
        return attrs.evolve(record, rcn="Турция", rnet="Turkcell", comment=None)
    return attrs.evolve(record, operator_orig=f"Operator {number}", sms_cnt=number, flag=32)


def values(record: StatusRecord) -> dict[str, Any]:
    """The wire's values that a record has."""
    names = [field.name for field in attrs.fields(type(record)) if field.name not in OURS]
    return {name: getattr(record, name) for name in names if getattr(record, name) is not None}


def only(record: StatusRecord, names: Sequence[str]) -> StatusRecord:
    """The record with these of its fields alone."""
    absent: dict[str, Any] = {name: None for name in values(record) if name not in names}
    return attrs.evolve(record, **absent)


def written(records: Sequence[StatusRecord], format: Format, detail: Detail, *, bulk: bool = False) -> bytes:
    """The reply that the vendor's server would print; a number that is not there is printed as nothing."""
    return codecs.encode(records, format=format, detail=detail, charset="utf-8", bulk=bulk, empty_numbers=True)


def outcomes_of(
    body: bytes, refs: Sequence[MessageRef], format: Format, detail: Detail, *, bulk: bool = False
) -> list[Outcome] | SmscError:
    asked = [ref.identity for ref in refs]
    return read(Wire(format), 200, {}, body, asked=asked, bulk=bulk, detail=detail)


def ref_of(record: StatusRecord) -> MessageRef:
    assert record.id is not None
    assert record.phone is not None
    return MessageRef(record.id, record.phone)


def read_back(record: StatusRecord, ref: MessageRef, format: Format, detail: Detail, *, bulk: bool) -> StatusRecord:
    outcomes = outcomes_of(written([record], format, detail, bulk=bulk), [ref], format, detail, bulk=bulk)
    assert isinstance(outcomes, list), outcomes
    [outcome] = outcomes
    assert isinstance(outcome, StatusRecord), outcome
    return outcome


# What was not sent.


@each_size
@each_kind
@each_form
def test_a_record_has_the_fields_of_its_layout_and_no_others(
    format: Format, detail: Detail, hlr: bool, bulk: bool
) -> None:
    """Each field of the layout's table has the value that was sent; each other field of the record is `None`."""
    whole = whole_record(hlr=hlr)
    columns = columns_of(format, detail, hlr=hlr, found=True, bulk=bulk)
    record = read_back(whole, ref_of(whole), format, detail, bulk=bulk)
    assert values(record) == values(only(whole, columns))
    assert set(values(record)) == set(columns)
    assert isinstance(record, HlrRecord) is hlr


def is_needed(name: str, format: Format, detail: Detail, *, bulk: bool) -> bool:
    """Whether a line with texts can't be read without this field."""
    ends_text, begins_text = format is Format.PLAIN and bulk, format is Format.CSV and not bulk
    return detail is not Detail.BASIC and ((name == "type" and ends_text) or (name == "phone" and begins_text))


@each_size
@each_kind
@each_form
def test_each_field_that_was_not_sent_is_none(format: Format, detail: Detail, hlr: bool, bulk: bool) -> None:
    """One after the other is left out, or empty where a form has a place for each; all others are as they were.

    Where nothing is quoted, two fields show which columns are which. Without them there is no record at all.
    """
    whole = whole_record(hlr=hlr)
    columns = columns_of(format, detail, hlr=hlr, found=True, bulk=bulk)
    for name in columns:
        if name == "status" or (bulk and name in ("id", "phone")):  # without these there is no record
            continue
        left = only(whole, [column for column in columns if column != name])
        if is_needed(name, format, detail, bulk=bulk):
            body = written([left], format, detail, bulk=bulk)
            [outcome] = outcomes_of(body, [ref_of(whole)], format, detail, bulk=bulk)  # type: ignore[misc]  # a list
            assert isinstance(outcome, ProtocolError), name
            continue
        record = read_back(left, ref_of(whole), format, detail, bulk=bulk)
        expected = values(left) | ({name: ""} if format is Format.CSV and name in TEXTS else {})
        clear = {field: value for field, value in values(record).items() if field not in record.unclear}
        assert clear.items() <= expected.items(), name
        assert expected.keys() - values(record).keys() <= set(record.unclear), name
        assert getattr(record, name) == expected.get(name), name


@each_size
@each_form
def test_of_a_message_that_is_not_found_nothing_else_is_known(format: Format, detail: Detail, bulk: bool) -> None:
    """All other fields are `None`, but for those that say in a bulk reply whose record it is."""
    ref = MessageRef(5, PHONE)
    record = read_back(StatusRecord(status=-3, id=5, phone=PHONE), ref, format, detail, bulk=bulk)
    assert values(record) == {"status": -3} | ({"id": 5, "phone": PHONE} if bulk else {})
    assert record.unclear == ()


ALONE = {
    Format.PLAIN: "Status = {}",
    Format.CSV: "{}",
    Format.XML: "<sms><status>{}</status></sms>",
    Format.JSON: '{{"status": {}}}',
}


@each_form
def test_of_a_status_that_was_sent_alone_nothing_else_is_known(format: Format, detail: Detail) -> None:
    """No typed view says more than that either."""
    for status in (-3, -2, -1) if format in (Format.PLAIN, Format.CSV) else (-3, -1, 0, 1, 20, 777):
        outcomes = outcomes_of(ALONE[format].format(status).encode(), [MessageRef(5, PHONE)], format, detail)
        assert isinstance(outcomes, list), outcomes
        [record] = outcomes
        assert isinstance(record, StatusRecord), record
        assert values(record) == {"status": status}
        assert (record.changed_at, record.sent_at, record.flags, record.error_title) == (None,) * 4
        assert record.channel is Channel.UNKNOWN


def test_every_field_of_a_record_is_none_unless_it_is_given() -> None:
    for kind in (StatusRecord, HlrRecord):
        assert values(kind(status=1)) == {"status": 1}
        assert kind(status=1).unclear == ()


# What is unknown.


@each_size
@each_form
def test_unknown_codes_stay_numbers(format: Format, detail: Detail, bulk: bool) -> None:
    """They have no title, are not final, and name no channel."""
    columns = columns_of(format, detail, hlr=False, found=True, bulk=bulk)
    whole = attrs.evolve(only(whole_record(), columns), status=777)
    codes: dict[str, Any] = {"err": 888, "type": 11, "flag": 11}
    unknown = {name: code for name, code in codes.items() if name in columns}
    record = read_back(attrs.evolve(whole, **unknown), ref_of(whole_record()), format, detail, bulk=bulk)
    assert record.status == 777
    assert {name: getattr(record, name) for name in unknown} == unknown
    assert type(record) is StatusRecord
    assert (record.status_title, record.error_title) == (None, None)
    assert not record.is_final
    assert not record.is_delivered
    assert record.channel is Channel.UNKNOWN


@pytest.mark.parametrize("code", [3, 77, 123_456_789])
@each_form
def test_an_unknown_refusal_is_an_error_with_its_number(format: Format, detail: Detail, code: int) -> None:
    body = codecs.encode_error(code, "no", format=format, charset="utf-8")
    error = outcomes_of(body, [MessageRef(5, PHONE)], format, detail)
    assert isinstance(error, SmscError)
    assert getattr(error, "code", None) == code


# What can't be read.

UNREADABLE = {
    "a page of HTML": b"<!DOCTYPE html><html><head><title>502</title></head><body>Bad gateway</body></html>",
    "a word": b"Hello",
    "a long text": b"Hello, " * 100_000,
    "random bytes": bytes(range(128, 256)) * 10,
    "null bytes": bytes(1000),
    "deep lists": b"[" * 20_000,
    "deep objects": b'{"status":' * 10_000,
    "deep elements": b"<list>" * 10_000,
    "another service's JSON": b'{"id": 5, "phone": "79990000000", "state": "delivered"}',
    "another service's XML": b"<report><id>5</id><state>delivered</state></report>",
    "a list of numbers": b"[1, 2, 3]",
    "no number": b'{"status": "delivered"}',
    "Status without a number": b"Status = delivered, check_time = 24.11.2026 10:00:00",
}


@each_size
@each_form
def test_a_reply_that_can_not_be_read_is_an_error_with_a_bounded_excerpt(
    format: Format, detail: Detail, bulk: bool
) -> None:
    """In every format: the error of the whole reply, or of each message, or it leaves the message out; no record."""
    refs = [MessageRef(id, PHONE) for id in (5, 6, 7)] if bulk else [MessageRef(5, PHONE)]
    for name, body in UNREADABLE.items():
        outcomes = outcomes_of(body, refs, format, detail, bulk=bulk)
        errors = [error for error in (outcomes if isinstance(outcomes, list) else [outcomes]) if error is not None]
        assert all(isinstance(error, ProtocolError) for error in errors), (name, errors)
        for error in errors:
            assert isinstance(error, ProtocolError)
            assert 0 < len(error.excerpt) <= EXCERPT_CHARS, name
            assert len(str(error)) < 2000, name


@pytest.mark.anyio
@pytest.mark.parametrize("format", Format)
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in UNREADABLE.items()])
async def test_a_caller_is_told_that_a_reply_can_not_be_read_with_an_excerpt(body: bytes, format: Format) -> None:
    """By `check` it is raised, out of a stream it comes as the message's failure."""
    ref = MessageRef(1, PHONE)
    async with answered_by(body, format=format, retries=0) as client:
        with pytest.raises(ProtocolError) as caught:
            await client.check(ref.id, ref.phone)
        [outcome] = [outcome async for outcome in client.stream([ref])]
    assert isinstance(outcome, FailedCheck)
    assert outcome.ref is ref
    for error in (caught.value, outcome.error):
        assert isinstance(error, ProtocolError)
        assert len(error.excerpt) <= EXCERPT_CHARS
        if body.startswith(b"<!DOCTYPE"):
            assert error.excerpt.startswith("<!DOCTYPE html")


SPOILT = {
    Format.PLAIN: ("Status = 1, ", "Status = one, "),
    Format.CSV: ("1,", "one,"),
    Format.XML: ("<status>1</status>", "<status>one</status>"),
    Format.JSON: ('"status": 1', '"status": "one"'),
}


@each_form
def test_a_message_whose_part_of_a_reply_can_not_be_read_has_no_record(format: Format, detail: Detail) -> None:
    """The others have theirs, but where a line can't be told from the text of a neighbour."""
    records = [whole_record(number) for number in (1, 2, 3)]
    parts = [written([record], format, detail, bulk=True).decode() for record in records]
    there, spoilt = SPOILT[format]
    assert there in parts[1]
    body = written(records, format, detail, bulk=True).decode()
    inner = parts[1].removeprefix("[").removesuffix("]").strip()
    if format is Format.XML:
        inner = inner[inner.index("<sms>") : inner.index("</sms>")]
    assert inner in body
    body = body.replace(inner, inner.replace(there, spoilt, 1))
    outcomes = outcomes_of(body.encode(), [ref_of(record) for record in records], format, detail, bulk=True)
    assert isinstance(outcomes, list), outcomes
    assert not isinstance(outcomes[1], StatusRecord)
    for outcome, record in zip(outcomes[::2], records[::2], strict=True):
        if isinstance(outcome, StatusRecord):
            assert_of(outcome, record)
        else:  # the line that is spoilt may be the text of the message before it
            assert isinstance(outcome, ProtocolError)
            assert detail is not Detail.BASIC
            assert format in (Format.PLAIN, Format.CSV)


# What is in doubt, and whose it is.


def assert_of(record: StatusRecord, whole: StatusRecord, body: str | None = None) -> None:
    """Each value is the message's own; one in doubt is named, and is `None` or stands in the reply."""
    own = values(whole)
    for name, value in values(record).items():
        if name not in record.unclear:
            assert value == own.get(name), name
        elif body is not None:
            assert str(value) in body, name


@pytest.mark.parametrize("text", NASTY_TEXTS)
@each_form
def test_a_field_in_doubt_is_named_and_is_none_or_stands_in_the_reply(
    format: Format, detail: Detail, text: str
) -> None:
    """Whatever the text and the comment: they spoil no other field without a word."""
    for comment, bulk in itertools.product(["", *NASTY_COMMENTS], [False, True]):
        whole = attrs.evolve(whole_record(), message=text, comment=comment)
        body = written([whole], format, detail, bulk=bulk)
        outcomes = outcomes_of(body, [ref_of(whole)], format, detail, bulk=bulk)
        assert isinstance(outcomes, list), outcomes
        [record] = outcomes
        if bulk and isinstance(record, ProtocolError):
            continue
        assert isinstance(record, StatusRecord), record
        printed = attrs.evolve(whole, message="".join(c for c in text if c.isprintable() or c in "\t\n\r"))
        assert_of(record, printed if format is Format.XML else whole, body.decode())
        assert record.status == whole.status
        assert all(name in columns_of(format, detail, hlr=False, found=True, bulk=bulk) for name in record.unclear)


def replies(records: list[StatusRecord]) -> list[list[StatusRecord]]:
    """Replies that leave out, repeat and reorder these records, and that add one which nobody asked for."""
    foreign = whole_record(99)
    orders = [list(order) for order in itertools.permutations(records)]
    missing = [list(some) for count in (1, 2) for some in itertools.combinations(records, count)]
    return [*orders, *missing, [*records, records[0]], [foreign, *records], [*records, foreign], [foreign]]


@each_kind
@each_form
def test_a_record_holds_nothing_of_another_message(format: Format, detail: Detail, hlr: bool) -> None:
    """In a reply in any order, with records left out, repeated and added."""
    records = [whole_record(number, hlr=hlr) for number in (1, 2, 3)]
    refs = [ref_of(record) for record in records]
    for reply in replies(records):
        body = written(reply, format, detail, bulk=True)
        outcomes = outcomes_of(body, refs, format, detail, bulk=True)
        assert isinstance(outcomes, list), outcomes
        for outcome, whole in zip(outcomes, records, strict=True):
            if isinstance(outcome, StatusRecord):
                assert whole in reply
                assert_of(outcome, whole)
            elif format in (Format.XML, Format.JSON):  # where nothing is quoted, lines may be in doubt
                assert whole not in reply


@each_form
def test_a_single_reply_that_names_another_message_is_no_record_of_this_one(format: Format, detail: Detail) -> None:
    other = whole_record(2)
    named = columns_of(format, detail, hlr=False, found=True, bulk=False)
    outcomes = outcomes_of(written([other], format, detail), [MessageRef(2, PHONE)], format, detail)
    if "phone" in named:
        assert not isinstance(outcomes, list) or not isinstance(outcomes[0], StatusRecord)
    else:  # nothing in it says whose it is
        assert isinstance(outcomes, list)
