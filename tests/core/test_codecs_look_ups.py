"""Look-ups that came without any network: told by their type or flag, and pending until there is an error number."""

from __future__ import annotations

from typing import Any

import pytest
from codec_samples import PHONE, one, record, rows

from smsc_status._core.wire import codecs
from smsc_status.models import Detail, Format, HlrRecord, StatusRecord

BASIC, FULL, EXTENDED = Detail
PLAIN, CSV, XML, JSON = Format
KINDS = pytest.mark.parametrize(
    "kind", [{"type": 4}, {"type": 5}, {"flag": 4}, {"flag": 0x125}, {"type": 5, "flag": 5}]
)


def keyed(format: Format, **fields: object) -> str:
    if format is XML:
        return f"<sms>{''.join(f'<{key}>{value}</{key}>' for key, value in fields.items())}</sms>"
    return "{" + ", ".join(f'"{key}": {value}' for key, value in fields.items()) + "}"


@KINDS
@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("format", [XML, JSON])
def test_a_look_up_is_told_by_its_type_or_flag(format: Format, kind: dict[str, int], odd: bool) -> None:
    """In each way of reading: 1 and 2 without an error are pending, 0 is reachable, another error is not."""
    extra: dict[str, Any] = {"surprise": "<b/>" if format is XML else "NaN"} if odd else {}
    for status in (1, 2):
        pending = one(keyed(format, status=status, **kind, **extra), format)
        assert isinstance(pending, HlrRecord)
        assert (pending.is_final, pending.is_delivered, pending.reachable) == (False, False, None)
        found = one(keyed(format, status=status, err=0, **kind, **extra), format)
        assert isinstance(found, HlrRecord)
        assert (found.is_final, found.is_delivered, found.reachable) == (True, True, True)
        lost = one(keyed(format, status=status, err=6, **kind, **extra), format)
        assert isinstance(lost, HlrRecord)
        assert (lost.is_final, lost.is_delivered, lost.reachable) == (True, False, False)


@pytest.mark.parametrize("kind", [{"type": 0}, {"type": 8}, {"flag": 0x100}, {"flag": 12}, {"type": 12, "flag": 6}, {}])
@pytest.mark.parametrize("format", [XML, JSON])
def test_a_message_of_another_type_is_no_look_up(format: Format, kind: dict[str, int]) -> None:
    """Whatever its other bits are."""
    found = one(keyed(format, status=1, **kind), format)
    assert type(found) is StatusRecord
    assert found.is_final


@pytest.mark.parametrize("type", [4, 5])
@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("detail", [FULL, EXTENDED])
def test_a_look_up_without_an_answer_has_no_error_in_text(detail: Detail, bulk: bool, type: int) -> None:
    """Its missing error is left out."""
    for err, reachable in ((None, None), (0, True), (6, False)):
        whole = record(PLAIN, detail, type=type, err=err, comment=None, bulk=bulk)
        body = codecs.encode([whole], format=PLAIN, detail=detail, charset="utf-8", bulk=bulk)
        (found,) = rows(body, PLAIN, detail, bulk=bulk)
        assert isinstance(found, HlrRecord)
        assert (found.reachable, found.is_final, found.unclear) == (reachable, err is not None, ())


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("detail", [FULL, EXTENDED])
@pytest.mark.parametrize("type", [4, 5])
@pytest.mark.parametrize("absent", ["0", ""])
def test_an_error_of_0_without_any_network_is_no_error_yet_in_columns(
    detail: Detail, bulk: bool, type: int, absent: str
) -> None:
    """In the columns of a message, and in those of a look-up, whose numbers may be printed as 0 too."""
    place = ",,," if detail is EXTENDED else ""
    tail = f"0.30,HLR,x,,{type}" + (",5" if bulk else "")
    lines = [
        f"1,1795503600,{absent},1795503590,{PHONE},{place}{tail.replace(',,', ',,,')}",
        f"1,1795503600,{absent},,,,,,,,,1795503590,{PHONE},{place}{tail}",
        f"1,1795503600,{absent},0,0,0,0,,,,,1795503590,{PHONE},{place}{tail}",
    ]
    for line in lines:
        (found,) = rows(line, CSV, detail, bulk=bulk)
        assert isinstance(found, HlrRecord), line
        assert (found.err, found.is_final, found.reachable, found.type) == (None, False, None, type), line


@pytest.mark.parametrize("end", ["", ",5,79990000001"])
def test_a_look_up_without_an_answer_is_told_at_the_basic_level(end: str) -> None:
    """By its number of columns; one that names its network is reachable, another error is an answer by itself."""
    for cells, expected in (
        ("0,,,,,,,,", None),
        (",,,,,,,,", None),
        ("0,,,250,01,Россия,МТС,,", 0),
        ("0,,,,,Россия,МТС,,", 0),
        ("6,,,,,,,,", 6),
    ):
        (found,) = rows(f"1,1795503600,{cells}{end}", CSV, BASIC, bulk=bool(end))
        assert isinstance(found, HlrRecord)
        assert (found.err, found.is_final) == (expected, expected is not None)
