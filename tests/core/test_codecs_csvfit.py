"""Which cells of a line are which column's."""

from __future__ import annotations

from typing import Any

import pytest
from codec_samples import ASKED, PHONE, one, rows, sent

from smsc_status._core.wire.csvfit import LayoutRuns, fit_layout, runs_of
from smsc_status._core.wire.layouts import LAYOUTS
from smsc_status.models import Detail, Format, HlrRecord, StatusRecord

BASIC, FULL, EXTENDED = Detail
CSV = Format.CSV
SMS = "1,1795503600,6,1795503590,79990000001,"
HLR = "1,1795503600,0,250011234567890,79168999999,250,01,"
SENT = ",1795503590,79990000001,"
NAMES = ("cn", "net", "rcn", "rnet")
PLACE = ("country", "operator", "region")
CERTAIN = {"status": 1, "last_timestamp": 1795503600}


def test_a_layout_is_cut_into_runs() -> None:
    """Every other one may hold commas; the last may be empty."""
    levels = LAYOUTS[CSV]
    first = ("status", "last_timestamp", "err")
    assert runs_of(levels[BASIC].sms) == LayoutRuns(first, (), 3)
    head = (*first, "imsi", "msc", "mcc", "mnc")
    assert runs_of(levels[BASIC].hlr) == LayoutRuns(head, ((NAMES, ()),), 11)
    assert runs_of(levels[EXTENDED].sms) == LayoutRuns(
        (*first, "send_timestamp", "phone"),
        ((PLACE, ("cost", "sender_id", "status_name")), (("message", "comment"), ("type",))),
        14,
    )


def unclear(wire: str, detail: Detail, *, hlr: bool = True) -> dict[str, Any]:
    """What is read of a single line, which has its status, its times and its error in any case."""
    found = one(wire, CSV, detail)
    assert isinstance(found, HlrRecord) is hlr
    said = sent(found)
    assert said.items() >= CERTAIN.items()
    assert found.err == (0 if hlr else 6)
    if detail is not BASIC:
        assert (found.send_timestamp, found.phone) == (1795503590, PHONE)
    return said


@pytest.mark.parametrize(
    ("detail", "tail"),
    [(BASIC, ""), (FULL, SENT + "0.30,HLR,x,,4"), (EXTENDED, SENT + "Россия,МТС,Москва,0.30,HLR,x,,4")],
)
def test_a_comma_in_a_networks_name_costs_the_names_alone(detail: Detail, tail: str) -> None:
    """A space after it shows which name goes on: likely, not sure."""
    said = unclear(f"{HLR}Россия,MTS, PJSC,,{tail}", detail)
    assert said["unclear"] == NAMES
    assert (said["cn"], said["net"], said.get("rcn"), said.get("rnet")) == ("Россия", "MTS, PJSC", None, None)
    said = unclear(f"{HLR}Россия,MTS,PJSC,,{tail}", detail)
    assert said["unclear"] == NAMES
    assert not said.keys() & set(NAMES)
    assert said["mcc"] == "250"
    if detail is not BASIC:
        assert (str(said["cost"]), said["sender_id"], said["type"]) == ("0.30", "HLR", 4)


@pytest.mark.parametrize("detail", [BASIC, FULL, EXTENDED])
def test_a_comma_in_a_networks_name_in_a_bulk_reply_costs_no_status(detail: Detail) -> None:
    """Each line is its message's, and the status comes out."""
    tail = {BASIC: "", FULL: "0.30,HLR,x,,4,", EXTENDED: "Россия,МТС,Москва, область,0.30,HLR,x,,4,"}[detail]
    lines = [
        f"{HLR}Россия,MTS, PJSC,,,{id},{phone}"
        if detail is BASIC
        else f"{HLR}Россия,MTS, PJSC,,,1795503590,{phone},{tail}{id}"
        for id, phone in ASKED
    ]
    found = rows("\n".join(lines), CSV, detail, asked=ASKED, bulk=True)
    assert [(row.id, row.phone) for row in found] == ASKED
    for row in found:
        assert isinstance(row, HlrRecord)
        assert (row.status, row.err, row.net, row.mcc) == (1, 0, "MTS, PJSC", "250")
        assert set(row.unclear) == {*NAMES, *(PLACE if detail is EXTENDED else ())}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("Казахстан,Beeline,Алматы, город", ("Казахстан", "Beeline", "Алматы, город")),
        ("Корея, Республика,SKT,Сеул", ("Корея, Республика", "SKT", "Сеул")),
        ("Россия,A,B,Москва", (None, None, None)),
        (" Россия, A, B, Москва", (None, None, None)),
    ],
)
@pytest.mark.parametrize("hlr", [False, True])
def test_a_comma_in_a_region_leaves_what_follows_the_cost_certain(
    names: str, expected: tuple[str | None, ...], hlr: bool
) -> None:
    """The cost is found by its decimals, and so all that follows it is sure."""
    head, tail = (HLR + "A,B,,", ",,4") if hlr else (SMS, ",a, b,,0")
    wire = f"{head}{SENT}{names},1.20,SMSC,x{tail}" if hlr else f"{head}{names},1.20,SMSC,x{tail}"
    said = unclear(wire, EXTENDED, hlr=hlr)
    assert said["unclear"] == PLACE
    assert tuple(said.get(name) for name in PLACE) == expected
    assert (str(said["cost"]), said["sender_id"], said["message"]) == ("1.20", "SMSC", "" if hlr else "a, b")


@pytest.mark.parametrize(
    ("text", "message", "comment", "doubts"),
    [
        ("Привет, мир,a, b", "Привет, мир,a", " b", ("message", "comment")),
        ("Привет, мир,", "Привет, мир", "", ()),
        ("Привет,a", "Привет", "a", ()),
        ("a,,", "a,", "", ()),
    ],
)
def test_the_last_column_of_a_text_with_commas_is_its_comment(
    text: str, message: str, comment: str, doubts: tuple[str, ...]
) -> None:
    """The last column is the comment, most likely; for sure if it is empty, or if there is no other comma."""
    for detail, places in ((FULL, ""), (EXTENDED, "Россия,МТС,Москва,")):
        found = one(f"{SMS}{places}1.20,SMSC,x,{text},0", CSV, detail)
        assert (found.message, found.comment, found.unclear) == (message, comment, doubts)
        line = f"{SMS}{places}1.20,SMSC,x,{text},0,5"
        (row,) = rows(line, CSV, detail, bulk=True)
        assert isinstance(row, StatusRecord)
        assert (row.message, row.comment, row.unclear) == (message, comment, doubts)


def test_a_cost_in_a_text_is_told_by_the_name_of_the_status() -> None:
    """Where the line fits in two ways, that in which the status has its own name is likely."""
    said = unclear(SMS + "Россия,A,Москва,1.20,SMSC,Доставлено,цена,12.50,a,b,c,,0", EXTENDED, hlr=False)
    assert said["unclear"] == ("cost", "sender_id", "status_name", "message", *PLACE)
    assert (said["region"], str(said["cost"]), said["message"]) == ("Москва", "1.20", "цена,12.50,a,b,c")
    said = unclear(SMS + "Россия,A,Москва,1.20,SMSC,x,цена,12.50,a,b,c,,0", EXTENDED, hlr=False)
    assert said["unclear"] == ("cost", "sender_id", "status_name", "message", *PLACE)
    assert not said.keys() & {"cost", "message", "region"}
    assert said["comment"] == ""


def test_a_text_with_many_costs_leaves_what_is_before_the_first_name() -> None:
    """No more than a few ways to read a line are looked at."""
    said = unclear(SMS + "Россия,A,Москва,1.20" + ",1.20" * 40 + ",,0", EXTENDED, hlr=False)
    assert set(said) - {"unclear", "err", *CERTAIN} == {"send_timestamp", "phone", "type"}


@pytest.mark.parametrize("detail", [FULL, EXTENDED])
def test_a_text_of_a_hundred_commas_comes_out_whole(detail: Detail) -> None:
    """It comes out whole, and so does what stands beside it."""
    place, text = "Россия,МТС,Москва," if detail is EXTENDED else "", "слово, " * 100
    found = one(f"{SMS}{place}1.20,SMSC,x,{text},note,0", CSV, detail)
    assert (found.message, found.comment, found.type) == (text, "note", 0)
    assert found.unclear == ("message", "comment")


@pytest.mark.parametrize("cost", ["", "5"])
def test_a_cost_without_decimals_is_found_by_its_place(cost: str) -> None:
    """Or none at all: it stands where nothing else can."""
    said = unclear(f"{SMS}Россия,A,Москва,{cost},SMSC,x,a,b,,0", EXTENDED, hlr=False)
    assert "unclear" not in said
    assert (said["region"], said["sender_id"], said["message"]) == ("Москва", "SMSC", "a,b")
    said = unclear(f"{SMS}Россия,A,Москва, обл.,{cost},SMSC,x,a,b,,0", EXTENDED, hlr=False)
    assert said["unclear"] == PLACE
    assert (said["region"], said["sender_id"], said["message"]) == ("Москва, обл.", "SMSC", "a,b")


@pytest.mark.parametrize(
    ("detail", "wire", "doubts"),
    [
        (BASIC, "1,1795503600,six", {"err"}),
        (FULL, SMS + "free,SMSC,x,Hello,,0", {"cost"}),
        (FULL, SMS + "1.20,SMSC,x,Hello,,zero", {"message", "comment", "type"}),
        (FULL, SMS + "1.20", {"cost", "sender_id", "status_name", "message", "comment", "type"}),
        (
            EXTENDED,
            SMS + "A,B,C,free,SMSC,x,Hello,,0",
            {*PLACE, "cost", "sender_id", "status_name", "message", "comment"},
        ),
        (BASIC, HLR.replace("250,01", "A,B") + "C,D,E,F", {"imsi", "msc", "mcc", "mnc", *NAMES}),
    ],
)  # fmt: skip
def test_a_column_that_is_not_what_it_should_be_costs_itself_and_what_it_hides(
    detail: Detail, wire: str, doubts: set[str]
) -> None:
    """The status and the times come out."""
    found = one(wire, CSV, detail)
    assert sent(found).items() >= CERTAIN.items()
    assert set(found.unclear) == doubts
    assert not sent(found).keys() & doubts


def test_a_short_line_of_a_bulk_reply_belongs_to_the_message_that_it_names() -> None:
    """Its id is at its end."""
    (row,) = rows(SMS + "1.20,0,5", CSV, FULL, bulk=True)
    assert isinstance(row, StatusRecord)
    assert (row.status, row.id, row.phone, row.sms_cnt) == (1, 5, PHONE, None)
    assert "cost" in row.unclear


def test_a_line_of_another_layout_does_not_fit() -> None:
    """By its number of columns, its phone, its status or its time."""
    sms, hlr = LAYOUTS[CSV][FULL]
    assert fit_layout(["1", "2"], LAYOUTS[CSV][BASIC].sms, None) is None
    assert fit_layout(["1", "2", "3", "4"], LAYOUTS[CSV][BASIC].sms, None) is None
    assert fit_layout(f"x{SMS}1.20,SMSC,x,Hello,,0".split(","), sms, PHONE) is None
    assert fit_layout(f"{SMS}1.20,SMSC,x,Hello,,0".split(","), hlr, PHONE) is None
    assert fit_layout(f"{HLR}A,B,,{SENT}0.30,HLR,x,,4".split(","), hlr, "1") is None


def test_the_phone_in_a_networks_name_is_not_the_message_s() -> None:
    """The send time stands before it."""
    said = unclear(f"{HLR}A,{PHONE},{PHONE},{PHONE}{SENT}0.30,HLR,x,,4", FULL)
    assert (said["net"], said["send_timestamp"]) == (PHONE, 1795503590)


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("detail", [FULL, EXTENDED])
def test_a_networks_name_that_holds_a_time_the_phone_and_a_cost_moves_no_column(detail: Detail, bulk: bool) -> None:
    """Though the line would also fit with these as the message's own and all that follows as the text."""
    place = "Россия,МТС,Москва," if detail is EXTENDED else ""
    wire = f"{HLR}A,B,C,D,0,{PHONE},{place}1.20{SENT}{place}0.30,HLR,x,,4" + (",5" if bulk else "")
    (found,) = rows(wire, CSV, detail, asked=ASKED[:1], bulk=bulk)
    assert isinstance(found, HlrRecord)
    said = sent(found)
    assert (said["send_timestamp"], str(said["cost"]), said["sender_id"]) == (1795503590, "0.30", "HLR")
    assert (said["status_name"], said["message"]) == ("x", "")
    assert set(found.unclear) == set(NAMES)
