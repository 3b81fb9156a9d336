"""What is as the page shows it is read by a shorter way, to the same records."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any
from unittest.mock import patch

import attrs
import pytest
from codec_samples import ASKED, record, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from smsc_status._core.wire import codecs
from smsc_status._core.wire.layouts import LAYOUTS, Columns
from smsc_status._core.wire.linefast import Line, cells, pairs
from smsc_status._core.wire.values import TEXTS as TEXT_FIELDS
from smsc_status.models import Detail, Format, Identity, StatusRecord

PLAIN, CSV = Format.PLAIN, Format.CSV
TEXTS = st.sampled_from(
    ["Hello", "a,b", "a, comment = b", "", "x,1.20,y,z", ", type = 5", " a ", "comment = b", "a\rb"]
)


@pytest.mark.slow
@pytest.mark.parametrize("format", [PLAIN, CSV])
@pytest.mark.parametrize("detail", Detail)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_short_way_leads_to_the_same_records(format: Format, detail: Detail, data: st.DataObject) -> None:
    """Whatever the texts, the names and the phone's notation are."""
    records = []
    for id, phone in ASKED:
        hlr = data.draw(st.booleans())
        whole = record(format, detail, (id, phone), hlr=hlr, bulk=True)
        changes: dict[str, Any] = {"err": data.draw(st.sampled_from([0, 6, None]))}
        if detail is not Detail.BASIC:
            changes |= {"message": data.draw(TEXTS), "phone": data.draw(st.sampled_from([phone, "8" + phone[1:]]))}
            changes |= {"type": data.draw(st.sampled_from([0, 4, 5])) if not hlr else 4}
            changes |= {} if hlr else {"comment": data.draw(st.sampled_from(["", "note", "a, b"]))}
        if detail is Detail.EXTENDED:
            changes["region"] = data.draw(st.sampled_from(["Москва", "Алматы, город", ""]))
        if hlr:
            changes |= data.draw(st.sampled_from([{}, dict.fromkeys(("mcc", "mnc", "cn", "net", "rcn", "rnet"), "")]))
        records.append(attrs.evolve(whole, **changes))
    body = codecs.encode(records, format=format, detail=detail, charset="utf-8", bulk=True)
    short = rows(body, format, detail, asked=ASKED, bulk=True)
    with patch.object(Line, "match", lambda _line, _text: None):
        assert rows(body, format, detail, asked=ASKED, bulk=True) == short


@pytest.mark.parametrize("format", [PLAIN, CSV])
@pytest.mark.parametrize("detail", Detail)
@pytest.mark.parametrize("hlr", [False, True])
def test_ordinary_lines_take_the_short_way(format: Format, detail: Detail, hlr: bool) -> None:
    """Each line of a usual reply does."""
    records = [record(format, detail, who, hlr=hlr, bulk=True) for who in ASKED]
    body = codecs.encode(records, format=format, detail=detail, charset="utf-8", bulk=True)
    module = "plainform" if format is PLAIN else "csvform"
    with patch(f"smsc_status._core.wire.{module}.record_of", side_effect=KeyError):
        found = rows(body, format, detail, asked=ASKED, bulk=True)
    assert [(row.id, row.phone) for row in found] == ASKED


def test_an_id_is_a_number_where_it_is_written_as_one() -> None:
    """Zeros before it are kept, and so are too many digits."""
    columns = ("status", "id")
    for id, expected in (("7", 7), ("0", 0), ("007", "007"), ("a-7", "a-7"), ("1" * 41, "1" * 41)):
        for line, text in ((cells(columns), f"1,{id}"), (pairs(columns), f"Status = 1, id = {id}")):
            texts = line.match(text)
            assert texts is not None
            assert line.record(texts).id == expected


@pytest.mark.slow
@pytest.mark.parametrize("format", Format)
@pytest.mark.parametrize("kind", ["ordinary", "odd", "reversed", "names"])
def test_the_time_to_read_a_reply_grows_as_it_does(format: Format, kind: str) -> None:
    """Ten times as many messages take about ten times as long."""
    detail = Detail.EXTENDED

    def seconds(count: int) -> float:
        asked: list[Identity] = [(id, f"7999{id:07}") for id in range(1, count + 1)]
        changes: dict[str, Any] = {"operator": "МТС, ПАО"} if kind == "names" else {}
        records: list[StatusRecord] = [
            record(format, detail, who, bulk=True, message="a, b" * 50, **changes) for who in asked
        ]
        if kind == "reversed":
            records.reverse()
        body = codecs.encode(records, format=format, detail=detail, charset="utf-8", bulk=True)
        if kind == "odd":
            body = body.replace(b'"status": 1', b'"status": "1"').replace(b"<sms>", b'<sms a="1">')
        began_at = process_time()
        found = rows(body, format, detail, asked=asked, bulk=True)
        took = process_time() - began_at
        assert all(isinstance(row, StatusRecord) for row in found)
        return took

    seconds(100)
    short = min(seconds(200) for _ in range(3))
    long = min(seconds(1000) for _ in range(2))
    assert long < short * 5 * 3


COLUMNS = sorted({name for format in (PLAIN, CSV) for level in LAYOUTS[format] for row in level for name in row})


@pytest.mark.slow
@pytest.mark.parametrize("layout", [cells, pairs])
@pytest.mark.parametrize("name", [name for name in COLUMNS if name not in TEXT_FIELDS])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_a_pattern_lets_through_can_be_read(
    layout: Callable[[Columns], Line], name: str, data: st.DataObject
) -> None:
    """A value at a pattern's edge, such as a lone minus, is never let through to a reader that it breaks."""
    line = layout((name,))
    text = data.draw(st.from_regex(line.pattern, fullmatch=True) | st.sampled_from(["-", "0", "-0", "9" * 9, "-" * 2]))
    texts = line.match(text)
    if texts is not None:
        line.record(texts)


@pytest.mark.parametrize("err", ["-", "--1", "1-"])
@pytest.mark.parametrize("detail", Detail)
def test_an_error_that_is_no_number_costs_itself_alone(detail: Detail, err: str) -> None:
    """The status and the time come out."""
    body = codecs.encode(
        [record(CSV, detail, who, bulk=True, err=7) for who in ASKED],
        format=CSV,
        detail=detail,
        charset="utf-8",
        bulk=True,
    )
    found = rows(body.replace(b",7,", f",{err},".encode()), CSV, detail, asked=ASKED, bulk=True)
    for row in found:
        assert isinstance(row, StatusRecord)
        assert (row.status, row.last_timestamp, row.err) == (1, 1795503600, None)
        assert row.unclear == ("err",)
