"""Wherever the reading of a reply pauses, it gives the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
from codec_samples import ASKED, record
from hypothesis import given, settings
from hypothesis import strategies as st
from test_codecs_properties import PIECES, TEXTS

from smsc_status import ProtocolError
from smsc_status._core.wire import codecs, jsonfast, jsonform, lineup, portions, replytext, values, xmlform
from smsc_status._core.wire.codecs import BadRow, ErrorReply
from smsc_status._core.wire.portions import in_one_go, list_in_portions
from smsc_status._core.wire.replytext import ReplyText
from smsc_status.models import Detail, Format, Identity

WHOLE = 1 << 30
PLACES = [
    (portions, "ROWS"),
    (xmlform, "ROWS"),
    (lineup, "LINES"),
    (replytext, "DECODED"),
    (jsonform, "COUNTED"),
    (jsonform, "SKIPPED"),
    (jsonfast, "PORTION"),
]
SIZES = st.lists(st.integers(1, 40), min_size=len(PLACES), max_size=len(PLACES))


@contextmanager
def portions_of(*sizes: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for (module, name), size in zip(PLACES, sizes, strict=True):
            patched.setattr(module, name, size)
        yield


@st.composite
def bodies(draw: st.DrawFn, format: Format, detail: Detail, charset: str, *, bulk: bool) -> bytes:
    """A reply, or one that has been mangled."""
    asked = draw(st.lists(st.sampled_from(ASKED), min_size=1, max_size=8)) if bulk else ASKED[:1]
    comment = None if format is Format.PLAIN else ""
    records = [
        record(format, detail, who, bulk=bulk)
        if detail is Detail.BASIC
        else record(format, detail, who, bulk=bulk, message=draw(TEXTS | st.just("Ёж\u2713")), comment=comment)
        for who in asked
    ]
    body = codecs.encode(records, format=format, detail=detail, charset=charset, bulk=bulk)
    for _ in range(draw(st.integers(0, 2))):
        began_at, ended_at = sorted((draw(st.integers(0, len(body))), draw(st.integers(0, len(body)))))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=3))
        body = body[:began_at] + piece + body[ended_at if draw(st.booleans()) else began_at :]
    return body


def read(body: bytes, format: Format, detail: Detail, charset: str, *, bulk: bool) -> list[str]:
    """What the reply gives, in words that can be compared."""
    asked = ASKED if bulk else ASKED[:1]
    try:
        found = codecs.decode(body, format=format, detail=detail, charset=charset, asked=asked, bulk=bulk)
    except ProtocolError as error:
        return [repr((error.reason, error.excerpt))]
    if isinstance(found, ErrorReply):
        return [repr(found)]
    return [
        repr((row.id, row.phone, row.index, str(row.error), row.error.excerpt))
        if isinstance(row, BadRow)
        else repr(row)
        for row in found
    ]


@pytest.mark.slow
@pytest.mark.parametrize("bulk", [True, False])
@pytest.mark.parametrize("detail", [Detail.BASIC, Detail.EXTENDED])
@pytest.mark.parametrize("format", Format)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_portions_of_any_size_give_the_same_as_one_go(
    format: Format, detail: Detail, bulk: bool, data: st.DataObject
) -> None:
    charset = data.draw(st.sampled_from(codecs.CHARSETS))
    body = data.draw(bodies(format, detail, charset, bulk=bulk))
    with portions_of(*[WHOLE] * len(PLACES)):
        expected = read(body, format, detail, charset, bulk=bulk)
    with portions_of(*data.draw(SIZES)):
        assert read(body, format, detail, charset, bulk=bulk) == expected


@pytest.mark.parametrize("charset", codecs.CHARSETS)
@settings(max_examples=100, deadline=None)
@given(
    body=st.lists(st.sampled_from(["\n", "\r", "<sms>", "Ё", " "]) | st.text(max_size=3)).map("".join).map(str.encode)
    | st.binary(),
    size=st.integers(1, 9),
)
def test_a_text_that_is_made_in_portions_is_the_whole_text(charset: str, body: bytes, size: int) -> None:
    """A character that a portion cuts is decoded as a whole. A byte that is no character is U+FFFD in its place."""
    text = body.removeprefix(b"\xef\xbb\xbf").decode(charset, "replace")
    reply = ReplyText(body, charset)
    assert reply.whole == text
    with portions_of(*[size] * len(PLACES)):
        assert "".join(reply.pieces()) == text
        assert in_one_go(reply.split("<sms>")) == text.split("<sms>")
        assert in_one_go(reply.lines()) == text.strip("\r\n").split("\n")
        if charset != "utf-8":
            assert in_one_go(reply.in_utf8()) == text.encode()


@settings(max_examples=200, deadline=None)
@given(
    body=st.lists(st.sampled_from(['"', '\\"', '\\"', ",", "a", '"a,b"']), min_size=4).map("".join),
    most=st.integers(0, 5),
    size=st.integers(1, 9),
)
def test_values_that_are_counted_in_portions_are_each_counted_once(body: str, most: int, size: int) -> None:
    """As many texts and commas outside them are too many as if all had been counted at once."""
    raw, asked = body.encode(), ASKED[:1]
    texts = (raw.count(b'"') - raw.count(b'\\"')) // 4
    # The count by itself: what a reply is refused for does not show how it was counted.
    commas = jsonform._STRING.sub(b"", raw).count(b",")
    with portions_of(*[size] * len(PLACES)), pytest.MonkeyPatch.context() as patched:
        patched.setattr(jsonform, "VALUES_A_ROW", 1)
        patched.setattr(values, "MORE_ROWS", most)
        patched.setattr(values, "ROWS_A_MESSAGE", 0)
        try:
            in_one_go(jsonform._refuse_too_many_values(raw, asked))
        except ProtocolError:
            assert max(texts, commas) > most
        else:
            assert max(texts, commas) <= most


@pytest.mark.parametrize(
    ("place", "format", "changes"),
    [
        ((portions, "ROWS"), Format.PLAIN, {}),
        ((portions, "ROWS"), Format.CSV, {}),
        ((portions, "ROWS"), Format.JSON, {"message": "undocumented"}),
        ((replytext, "DECODED"), Format.PLAIN, {}),
        ((replytext, "DECODED"), Format.CSV, {}),
        ((replytext, "DECODED"), Format.XML, {}),
        ((replytext, "DECODED"), Format.XML, {"message": "undocumented"}),
        ((replytext, "DECODED"), Format.JSON, {"charset": "windows-1251"}),
        ((xmlform, "ROWS"), Format.XML, {}),
        ((lineup, "LINES"), Format.PLAIN, {"message": "two\nlines"}),
        ((jsonform, "COUNTED"), Format.JSON, {"message": "undocumented"}),
        ((jsonform, "SKIPPED"), Format.JSON, {"message": "undocumented" + "," * 60_000}),
        ((jsonfast, "PORTION"), Format.JSON, {}),
    ],
)
def test_each_step_that_may_be_long_pauses(
    place: tuple[ModuleType, str], format: Format, changes: dict[str, Any]
) -> None:
    changes = changes.copy()
    charset = changes.pop("charset", "utf-8")
    records = [record(format, Detail.EXTENDED, who, bulk=True, **changes) for who in ASKED]
    body = codecs.encode(records, format=format, detail=Detail.EXTENDED, charset=charset, bulk=True)
    if changes.get("message", "").startswith("undocumented"):
        body = body.replace(b'"status": 1', b'"status": "1"').replace(b"<status>", b"<status a='1'>")

    def pauses(size: int) -> int:
        with portions_of(*[size if one == place else WHOLE for one in PLACES]):
            return sum(
                1
                for _ in codecs.decode_in_portions(
                    body, format=format, detail=Detail.EXTENDED, charset=charset, asked=ASKED, bulk=True
                )
            )

    assert pauses(WHOLE) == 0
    assert pauses(1) >= len(ASKED) - 1


@pytest.mark.parametrize(("count", "pauses"), [(0, 0), (1, 0), (50, 0), (51, 1), (100, 1), (101, 2)])
def test_a_list_is_made_in_portions_of_fifty(count: int, pauses: int) -> None:
    made = list_in_portions(range(count))
    assert sum(1 for _ in made) == pauses
    assert in_one_go(list_in_portions(iter(range(count)))) == list(range(count))


@pytest.mark.parametrize("format", Format)
def test_a_refusal_is_read_without_a_pause(format: Format) -> None:
    """The engine tells the limiter of a refusal only after all of it was read."""
    body = codecs.encode_error(9, "duplicate request, wait a minute", format=format, charset="utf-8")
    asked: list[Identity] = [(id, "79990000001") for id in range(1000)]
    read = codecs.decode_in_portions(body, format=format, detail=Detail.FULL, charset="utf-8", asked=asked, bulk=True)
    with pytest.raises(StopIteration) as end:
        next(read)
    assert isinstance(end.value.value, ErrorReply)
