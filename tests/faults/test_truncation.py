"""A reply that ends early, at every byte: a message gets its own record, an error or nothing, and never another's.

Over a socket a body that is shorter than its length or its last chunk says is an error by itself (see
`test_bounds.py`). Here it looks whole, as it does where a server or a proxy ends it early and says so properly.
JSON and XML mark their end, so that what is missing shows. The formats for people do not: there the status is right,
and the dates are whole, but the number or the text in which a single reply was cut may be shorter than it was.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest

from smsc_status import Detail, Format, HlrRecord, MessageRef, ProtocolError, SmscError, StatusRecord
from smsc_status._core.wire import codecs
from smsc_status._core.wire.protocol import Outcome, Wire, read
from smsc_status.emulator._world import World

pytestmark = pytest.mark.slow

NOW = 1795503600.0
# Ids and phones that begin like others, statuses that do, texts that look like keys.
MESSAGES: list[tuple[int | str, str, list[int] | None, str, str]] = [
    (12345, "79990000001", [20, 248], "Hello, world", "order 7"),
    (1234, "79990000001", [1, 0], "Привет", "z"),
    (77, "79990000012", [25, 12], "a = b, type = 3", "com"),
    (7, "799900000123", [3, 1], "x", "y"),
    (7, "79990000012", [22, 8], "", ""),
    (777, "79990000012", [23, 255], "<sms>&amp;", "{"),
    ("ab12", "79990000013", [24, 6], "one\ntwo", "three"),
    ("ab1", "79990000013", [2, 0], "x", "y"),
    (901, "79990000015", None, "", ""),
]
LAST_MAY_BE_CUT = {"err", "phone", "cost", "sender_id", "status_name", "message", "comment", "type"}
LAST_MAY_BE_CUT |= {"mccmnc", "country", "operator", "operator_orig", "region"}


def world() -> tuple[list[MessageRef], list[StatusRecord]]:
    """What the emulator knows of the messages; of the last one nothing."""
    known = World(3)
    for id, phone, life, text, comment in MESSAGES:
        if life is not None:
            known.add(id, phone, sent_at=NOW - 3600, life=[(0, *life)], text=text, comment=comment)
    known.add(900, "79990000014", sent_at=NOW - 3600, kind=4, life=[(0, 1, 0)])
    refs = [*known, MessageRef(901, "79990000015")]
    return refs, [known.record(ref.id, ref.phone, at=NOW) for ref in refs]


def values(record: StatusRecord) -> dict[str, object]:
    """The wire's values that are there."""
    return {
        field.name: getattr(record, field.name)
        for field in attrs.fields(type(record))
        if field.name not in ("ref", "checked_at", "timezone", "unclear") and getattr(record, field.name) is not None
    }


def cuts(
    refs: list[MessageRef], records: list[StatusRecord], format: Format, detail: Detail, *, bulk: bool
) -> Iterator[tuple[bytes, list[Outcome] | SmscError, list[Outcome]]]:
    """Each beginning of the reply, what is read in it, and what is read in the whole."""
    asked = [ref.identity for ref in refs]
    body = codecs.encode(records, format=format, detail=detail, charset="utf-8", bulk=bulk)

    def reply(body: bytes) -> list[Outcome] | SmscError:
        return read(Wire(format), 200, {}, body, asked=asked, bulk=bulk, detail=detail)

    whole = reply(body)
    assert isinstance(whole, list)
    assert [type(outcome) for outcome in whole] == [type(record) for record in records]
    for length in range(1, len(body)):
        yield body[:length], reply(body[:length]), whole


@pytest.mark.parametrize("detail", Detail)
@pytest.mark.parametrize("format", Format)
def test_a_cut_bulk_reply_gives_no_message_another_s_values(format: Format, detail: Detail) -> None:
    """However many of its messages are there whole: each is as in the whole reply, or an error, or missing."""
    for beginning, outcomes, whole in cuts(*world(), format, detail, bulk=True):
        if isinstance(outcomes, SmscError):
            assert isinstance(outcomes, ProtocolError)
            continue
        for outcome, expected in zip(outcomes, whole, strict=True):
            assert isinstance(expected, StatusRecord)
            if outcome is not expected and isinstance(outcome, StatusRecord):
                assert values(outcome).items() <= values(expected).items(), beginning[-80:]


@pytest.mark.parametrize("detail", Detail)
@pytest.mark.parametrize("format", Format)
def test_a_cut_single_reply_is_right_but_for_the_value_that_was_cut(format: Format, detail: Detail) -> None:
    """It is as in the whole reply but for what it was cut in, or an error."""
    refs, records = world()
    for ref, record in zip(refs, records, strict=True):
        for beginning, outcomes, whole in cuts([ref], [record], format, detail, bulk=False):
            if isinstance(outcomes, SmscError):
                assert isinstance(outcomes, ProtocolError)
                continue
            outcome, expected = outcomes[0], whole[0]
            assert isinstance(expected, StatusRecord)
            if not isinstance(outcome, StatusRecord):
                continue
            assert outcome.status == expected.status, beginning
            wrong = {name for name, value in values(outcome).items() if value != values(expected).get(name)}
            if format in (Format.XML, Format.JSON):
                assert not wrong, beginning
            elif not isinstance(expected, HlrRecord):
                assert wrong <= LAST_MAY_BE_CUT, beginning
