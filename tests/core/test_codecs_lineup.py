"""Bulk replies whose texts hold newlines, and lines that look like another message's record."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from codec_samples import ASKED, MAILING, record, rows

from smsc_status._core.wire import codecs
from smsc_status._core.wire.codecs import BadRow
from smsc_status.models import Detail, Format, Identity, StatusRecord

FULL = Detail.FULL
UNQUOTED = pytest.mark.parametrize("format", [Format.PLAIN, Format.CSV])


def line(format: Format, who: Identity, text: str = "Hello") -> str:
    """One message's part of a bulk reply, as the server prints it."""
    answer = record(format, FULL, who, bulk=True, message=text, comment="")
    return codecs.encode([answer], format=format, detail=FULL, charset="utf-8", bulk=True).decode()


def begun(format: Format, who: Identity, text: str) -> str:
    """A part without its end, as a text can hold it."""
    return line(format, who, text).removesuffix(f", type = 0, id = {who[0]}").removesuffix(f",,0,{who[0]}")


def gone(format: Format, who: Identity) -> str:
    """The part of a message that was not found."""
    answer = StatusRecord(status=-3, id=who[0])
    return codecs.encode([answer], format=format, detail=FULL, charset="utf-8", bulk=True).decode()


def read(format: Format, asked: Sequence[Identity], *lines: str, newline: str = "\n") -> dict[int, object]:
    """What each asked message got, by its position: the text, the status of one not found, or a doubt."""
    found: dict[int, object] = {}
    places = {identity: place for place, identity in enumerate(asked)}
    for row in rows(newline.join(lines), format, FULL, asked=asked, bulk=True):
        if isinstance(row, BadRow):
            assert row.index is not None
            place, value = row.index, "doubt"
        elif row.status == -3:
            positions_of_id = [place for place, (id, _) in enumerate(asked) if id == row.id and place not in found]
            place, value = positions_of_id[0], "gone"
        else:
            assert row.phone is not None
            assert isinstance(row.id, int)
            place, value = places[row.id, row.phone], row.message or ""
        assert place not in found
        found[place] = value
    return found


A, B, C = ASKED
ONE, TWO, THREE = MAILING


@UNQUOTED
@pytest.mark.parametrize("asked", [ASKED, MAILING], ids=["ids", "mailing"])
class TestBenign:
    def test_lines_in_the_order_of_the_request_are_read(self, format: Format, asked: list[Identity]) -> None:
        """Lines that stand in the request's order are read one by one."""
        assert read(format, asked, *[line(format, who) for who in asked]) == dict.fromkeys(range(3), "Hello")

    def test_texts_of_several_lines_keep_their_newlines(self, format: Format, asked: list[Identity]) -> None:
        """A text keeps its newlines and blank lines, also where the server ends its lines with CR LF."""
        texts = ["a\n\nb\n", "Hello", "1\n2, 3\nStatus = ok"]
        parts = [line(format, who, text) for who, text in zip(asked, texts, strict=True)]
        assert read(format, asked, *parts) == dict(enumerate(texts))
        assert read(format, asked, *parts, "", newline="\r\n") == dict(enumerate(texts))

    def test_messages_that_are_left_out_have_no_row(self, format: Format, asked: list[Identity]) -> None:
        """Messages that the server leaves out leave no row."""
        assert read(format, asked, line(format, asked[0]), line(format, asked[2])) == {0: "Hello", 2: "Hello"}
        assert read(format, asked, line(format, asked[1])) == {1: "Hello"}

    def test_lines_in_another_order_are_read(self, format: Format, asked: list[Identity]) -> None:
        """Lines in another order are read where each is all of one message's part."""
        parts = [line(format, asked[place], text) for place, text in ((2, "c"), (0, "a\nb"), (1, "b"))]
        assert read(format, asked, *parts) == {0: "a\nb", 1: "b", 2: "c"}

    def test_a_repeated_line_is_read_once(self, format: Format, asked: list[Identity]) -> None:
        """A line that comes twice is read once; if the two differ there is a doubt."""
        first, second = line(format, asked[0]), line(format, asked[1])
        assert read(format, asked, first, second, second) == {0: "Hello", 1: "Hello"}
        assert read(format, asked, second, line(format, asked[1], "other"))[1] == "doubt"

    def test_messages_that_were_not_found_have_a_short_line(self, format: Format, asked: list[Identity]) -> None:
        """Messages that were not found have a short line with their id."""
        parts = [line(format, asked[0]), gone(format, asked[1]), line(format, asked[2])]
        assert read(format, asked, *parts) == {0: "Hello", 1: "gone", 2: "Hello"}
        assert read(format, asked, *[gone(format, who) for who in asked]) == dict.fromkeys(range(3), "gone")


@UNQUOTED
@pytest.mark.parametrize("asked", [ASKED, MAILING], ids=["ids", "mailing"])
class TestHostile:
    def test_another_message_inside_a_text_makes_no_record(self, format: Format, asked: list[Identity]) -> None:
        """A text that holds another message's line makes no record of it, and both messages are read as they are."""
        for fake in (line(format, asked[1], "fake"), begun(format, asked[1], "fake"), gone(format, asked[1])):
            for text in (f"x\n{fake}", f"x\n{fake}\nend"):
                parts = [line(format, asked[0], text), line(format, asked[1], "true"), line(format, asked[2])]
                found = read(format, asked, *parts)
                assert found[0] in (text, "doubt")
                assert found[1] in ("true", "doubt")
                assert found[2] == "Hello"

    def test_a_text_that_ends_its_own_record_and_begins_another_makes_no_record(
        self, format: Format, asked: list[Identity]
    ) -> None:
        """Nor does one that first makes up its own end."""
        end = line(format, asked[0], "").removeprefix(begun(format, asked[0], ""))
        for fake in (line(format, asked[1], "fake"), begun(format, asked[1], "fake")):
            text = f"x{end}\n{fake}"
            parts = [line(format, asked[0], text), line(format, asked[1], "true"), line(format, asked[2])]
            found = read(format, asked, *parts)
            assert found[0] in (text, "doubt")
            assert found[1] in ("true", "doubt")
            assert found[2] == "Hello"

    def test_a_text_does_not_answer_for_a_message_that_was_left_out(
        self, format: Format, asked: list[Identity]
    ) -> None:
        """A text that only holds another message's line does not answer for it."""
        text = f"x\n{line(format, asked[1], 'fake')}\nend"
        assert read(format, asked, line(format, asked[0], text), line(format, asked[2])) == {0: text, 2: "Hello"}

    def test_a_text_that_holds_its_own_line_again_harms_no_other_message(
        self, format: Format, asked: list[Identity]
    ) -> None:
        """A text that holds its own message's line harms nobody else."""
        text = f"x\n{line(format, asked[1], 'y')}"
        found = read(format, asked, line(format, asked[0]), line(format, asked[1], text), line(format, asked[2]))
        assert found[1] in (text, "doubt")
        assert (found[0], found[2]) == ("Hello", "Hello")


@UNQUOTED
def test_where_two_readings_answer_equally_many_messages_their_differences_are_in_doubt(format: Format) -> None:
    """Where two ways to cut the lines answer equally many messages, the messages on which they differ are in doubt."""
    end = line(format, ONE, "").removeprefix(begun(format, ONE, ""))
    text = f"x{end}\n{begun(format, TWO, 'fake')}"
    parts = [line(format, ONE, text), line(format, TWO, "true"), line(format, THREE)]
    assert read(format, MAILING, *parts) == {0: "doubt", 1: "doubt", 2: "Hello"}


@UNQUOTED
def test_a_line_that_nobody_asked_for_is_no_answer(format: Format) -> None:
    """A foreign line costs nobody an answer where ids differ, and leaves a doubt where it may belong to a text."""
    foreign = line(format, (99, "79990000099"))
    assert read(format, ASKED, line(format, A), foreign, line(format, B)) == {0: "Hello", 1: "Hello"}
    foreign = line(format, (5, "79990000099"))
    assert read(format, MAILING, line(format, ONE), foreign, line(format, TWO)) == {0: "doubt", 1: "Hello"}


@UNQUOTED
def test_a_broken_part_costs_only_its_own_message(format: Format) -> None:
    """A part without its end, and a preamble, cost at most the message that they begin."""
    parts = ["Warning: something", line(format, A), begun(format, B, "cut"), line(format, C)]
    assert read(format, ASKED, *parts) in ({0: "Hello", 2: "Hello"}, {0: "Hello", 1: "doubt", 2: "Hello"})
    assert read(format, MAILING, begun(format, ONE, "x"), begun(format, TWO, "y")) == {0: "doubt", 1: "doubt"}


@UNQUOTED
def test_a_line_with_an_id_alone_is_in_doubt_among_several_messages_of_a_mailing(format: Format) -> None:
    """A line with an id alone belongs to the one message whose place it can be; among several there is a doubt."""
    broken = f"x\n{line(format, THREE, 'y')}"
    found = rows(
        "\n".join([line(format, ONE, broken), gone(format, TWO), line(format, THREE)]),
        format, FULL, asked=MAILING, bulk=True,
    )  # fmt: skip
    assert [isinstance(row, StatusRecord) and row.status for row in found] == [1, -3, 1]
    found = rows("\n".join([line(format, ONE), gone(format, TWO)]), format, FULL, asked=MAILING, bulk=True)
    assert [(type(row), row.id, row.phone) for row in found] == [(StatusRecord, *ONE), (BadRow, 5, None)]


@UNQUOTED
def test_a_short_line_with_a_phone_belongs_to_the_message_of_that_phone(format: Format) -> None:
    """A line that names its phone is that message's, and nobody's if it was not asked."""
    for phone, status in ((TWO[1], -3), ("79990000099", None)):
        tail = {Format.PLAIN: f"Status = -3, id = 5, phone = {phone}", Format.CSV: f"-3,,,5,{phone}"}[format]
        found = rows(f"{tail}\n{line(format, THREE)}", format, FULL, asked=MAILING, bulk=True)
        assert [row.status for row in found if isinstance(row, StatusRecord)] == ([-3, 1] if status else [1])


@UNQUOTED
def test_messages_to_one_phone_are_told_apart_by_their_ids(format: Format) -> None:
    """A phone that got many messages is told apart by the id at the end."""
    asked: list[Identity] = [(id, "79990000001") for id in range(1, 60)]
    text = f"x\n{line(format, asked[31], 'fake')}\nend"
    texts = {place: text if place == 30 else "Hello" for place in range(59)}
    parts = [line(format, who, texts[place]) for place, who in enumerate(asked)]
    assert read(format, asked, *parts) == texts
    del texts[50], texts[51], parts[50:52]
    assert read(format, asked, *parts) == texts


@pytest.mark.slow
@UNQUOTED
@pytest.mark.parametrize("hostile", [False, True])
@pytest.mark.parametrize("mailing", [False, True])
def test_the_time_to_read_many_lines_grows_as_the_reply_does(format: Format, mailing: bool, hostile: bool) -> None:
    """The time to read a reply grows about as fast as the reply, also if many of its lines try to confuse."""
    asked: list[Identity] = [(5 if mailing else id, f"7999{id:07}") for id in range(1000)]
    parts = [line(format, who) for who in asked]
    if hostile:
        parts[500] = line(format, asked[500], "\n".join(["x", *parts[501:800]]))
    started = time.process_time()
    found = read(format, asked, *parts)
    assert time.process_time() - started < 2
    assert len(found) == 1000
    assert list(found.values()).count("Hello") >= (699 if hostile else 1000)


@pytest.mark.slow
@UNQUOTED
@pytest.mark.parametrize("extra", [1, 3])
def test_a_thousand_messages_to_one_phone_are_all_answered(format: Format, extra: int) -> None:
    """All are answered, and so the few texts that hold another's beginning can't be theirs."""
    asked: list[Identity] = [(id, "79990000000") for id in range(1, 1001)]
    lines = [line(format, who, f"text {who[0]}") for who in asked]
    texts = {place: f"text {place}" for place in range(1, 1001)}
    for place in (1, 500, 999)[:extra]:
        texts[place] = f"first\n{begun(format, asked[place], 'last')}"
        lines[place - 1] = line(format, asked[place - 1], texts[place])
    lines[700] = gone(format, asked[700])
    found = read(format, asked, *lines)
    assert found.pop(700) == "gone"
    del texts[701]
    assert found == {id - 1: text for id, text in texts.items()}


@UNQUOTED
def test_messages_with_too_many_readings_are_in_doubt(format: Format) -> None:
    """Beyond a bound nothing is tried: the messages concerned are in doubt."""
    asked: list[Identity] = [(5, f"7999{id:07}") for id in range(300)]
    parts = [gone(format, asked[0])] * 250 + [line(format, asked[0], f"x\n{line(format, asked[1])}")]
    parts = [line(format, asked[0], f"x\n{line(format, asked[1])}"), *parts]
    found = rows("\n".join(parts), format, FULL, asked=asked, bulk=True)
    assert [(type(row), row.id) for row in found] == [(BadRow, 5)] * 3


@UNQUOTED
@pytest.mark.parametrize("asked", [ASKED, MAILING], ids=["ids", "mailing"])
def test_commas_and_another_phone_in_a_text_mislead_no_reading(format: Format, asked: list[Identity]) -> None:
    """Commas and another's phone in a text mislead nobody, and look-ups stand beside messages."""
    text = "a,b,c,d,79990000002,e,HLR,1795503590"
    answers = [
        record(format, FULL, asked[0], bulk=True, message=text, comment=""),
        record(format, FULL, asked[1], hlr=True, bulk=True),
        record(format, FULL, asked[2], bulk=True, message="x\ny", comment=""),
    ]
    body = codecs.encode(answers, format=format, detail=FULL, charset="utf-8", bulk=True).decode()
    assert read(format, asked, body) == {0: text, 1: "", 2: "x\ny"}
    assert read(format, asked, "preamble", body) == {0: text, 1: "", 2: "x\ny"}


@UNQUOTED
def test_a_short_line_in_two_places_is_one_row(format: Format) -> None:
    """A message that was not found, said twice, is one row; if two lines contradict each other it is in doubt."""
    assert read(format, ASKED, gone(format, B), line(format, A), gone(format, B)) == {0: "Hello", 1: "gone"}
    assert read(format, ASKED, gone(format, B), line(format, A), line(format, B)) == {0: "Hello", 1: "doubt"}


@UNQUOTED
def test_a_line_that_looks_like_a_short_one_is_part_of_a_text_that_goes_on(format: Format) -> None:
    """A line that looks like one of a message not found is part of a text if more of the text follows."""
    text = f"x\n{gone(format, B)}\nend"
    assert read(format, ASKED, line(format, A, text), line(format, B)) == {0: text, 1: "Hello"}
