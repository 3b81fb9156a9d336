"""A short run of the fuzzer's guarantee, by hypothesis, in the suite; and replies that are long on purpose."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.guarantee import check, try_reply
from fuzz.seeds import TOKENS, seeds
from smsc_status import Detail, Format

pytestmark = pytest.mark.slow

PLAIN, CSV, XML, JSON = Format
ANY_BYTES = st.binary(max_size=80)
LONG = 20_000
SEEDS = {format: seeds(format) for format in Format}


@st.composite
def spoilt(draw: st.DrawFn, format: Format) -> bytes:
    """A reply of a server with some of it replaced."""
    data = draw(st.sampled_from(SEEDS[format]))
    pieces = st.sampled_from([token.encode() for token in TOKENS[format]]) | st.binary(max_size=3)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(2, max(2, len(data))))
        data = data[:place] + draw(pieces) + data[place + draw(st.integers(0, 12)) :]
    return data


@pytest.mark.parametrize("format", Format)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_reply_gives_records_or_our_own_errors(format: Format, data: st.DataObject) -> None:
    """Spoilt replies and any bytes give records or errors of ours, and what a message gets is its own."""
    try_reply(format, data.draw(spoilt(format) | ANY_BYTES))


HEADS = {
    PLAIN: [
        "", "Status = 1", "Status = -3, id = 5, phone = 7", "ERROR = 1",
        "Status = 1, phone = 79990000001, message = x, type = 0, a = ",
    ],
    CSV: ["", "0", "-3,5,x", "1,1773122400,0,1773122390,79990000001,1.20,A,x,"],
    XML: ["", "<sms><status>", "<list><sms><status>1</status>", "<result>a", "<sms><message>&"],
    JSON: ["", '[{"status": 1, "message": "', '[{"status": 1, "err": ', '["\\ud800", '],
}  # fmt: skip
ENDS = ["", "x", "\nx", ",", "</sms>", "</result>", "]", '"}]', "}"]


@pytest.mark.parametrize("format", Format)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_long_reply_takes_no_more_time_than_it_is_long(format: Format, data: st.DataObject) -> None:
    """Whatever is in it again and again."""
    head, end = data.draw(st.sampled_from(HEADS[format])), data.draw(st.sampled_from(ENDS))
    piece = data.draw(st.sampled_from([*TOKENS[format], "a", "(", ")", "=", "<a/>b"]))
    body = (head + piece * (LONG // len(piece)) + end).encode(errors="replace")
    detail, bulk = data.draw(st.sampled_from(Detail)), data.draw(st.booleans())
    check(body, format=format, detail=detail, charset="utf-8", asked=[(5, "79990000001")], bulk=bulk)


def read(format: Format, body: str, *, bulk: bool = True, detail: Detail = Detail.FULL) -> None:
    """Look at a reply to one message."""
    check(body.encode(), format=format, detail=detail, charset="utf-8", asked=[(5, "79990000001")], bulk=bulk)


class TestFound:
    """What was found once."""

    def test_half_a_character_in_many_brackets_is_no_error_but_ours(self) -> None:
        """A value nested deeply beside half a character is no error but ours."""
        read(JSON, "[" * 600 + '"\\ud800"' + "]" * 600)

    @pytest.mark.parametrize(
        ("format", "head", "piece", "end"),
        [
            (PLAIN, "ERROR = 1", " ", "x"),
            (PLAIN, "Status = -3, id = 5, phone = 7", " ", ","),
            (PLAIN, "Status = 1, phone = 79990000001, message = x, type = 0, a = ", " ", "x\ny"),
            (CSV, "-3,5,x", " ", ","),
            (XML, "", " ", "<"),
        ],
    )
    def test_many_spaces_are_matched_in_one_way(self, format: Format, head: str, piece: str, end: str) -> None:
        """Spaces in a place where a pattern may take them in two ways are taken in one."""
        read(format, head + piece * LONG + end)

    def test_many_pieces_of_a_result_are_joined_once(self) -> None:
        """The text of a result, cut in pieces by elements, is put together once."""
        read(XML, "<result>" + "x<a/>" * 100_000 + "</result>")
