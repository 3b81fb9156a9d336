"""`fmt=2`: reads and writes XML.

A regular expression reads a reply that consists of flat elements, as on the vendor's page; that is quicker than any
parser. `expat` reads all other replies. If a reply is not well-formed as a whole, each message is read by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.parsers import expat

from smsc_status._core.wire.layouts import NOT_FOUND, columns_of
from smsc_status._core.wire.portions import ROWS, Portions, in_one_go, list_in_portions
from smsc_status._core.wire.replytext import ReplyText
from smsc_status._core.wire.values import (
    BadRow,
    ErrorReply,
    Row,
    bad_row,
    bytes_of,
    error_reply,
    key_of,
    record_of,
    refuse_too_many_rows,
    text_id,
    unreadable,
    wire_values,
    with_index,
    without_surrogates,
)
from smsc_status.models import Detail, Format, HlrRecord, Identity, StatusRecord, phone_key

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_SPECIAL = re.compile("[&<>\r]")
_FLAT_HEAD = re.compile(r"\s*+(?:<\?xml\s[^<>?]*+\?>\s*+)?(?:(<list>)\s*+)?")
_FLAT_FIELD = re.compile(r"<(\w+)>([^<]*)</\1>", re.ASCII)
_REFERENCE = re.compile(r"&(?:(amp|lt|gt|quot|apos);|#(\d{1,7});|#x([\da-fA-F]{1,6});)?", re.ASCII)
_REFERRED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}

Wire = dict[str, Any]

_MESSAGES = (["sms"], ["list", "sms"], ["result"])


def decode(
    text: ReplyText, _detail: Detail, asked: Sequence[Identity], *, bulk: bool
) -> Portions[list[Row] | ErrorReply]:
    """Read a reply: its rows, or the refusal."""
    rows = yield from _read_flat(text, asked)
    if rows is not None:
        return rows
    try:
        reader = yield from _read(text.pieces())
    except expat.ExpatError as error:
        chunks = list(_chunks(text.whole))
        if not chunks:
            raise unreadable("not XML", text.whole) from error
        return (yield from _piecewise(chunks, asked, bulk=bulk))
    if reader.root == "result":
        refusal = error_reply(reader.result)
        if refusal:
            return refusal
    elif reader.root in ("sms", "list"):
        refuse_too_many_rows(len(reader.messages), asked)
        return (yield from list_in_portions(record_of(_with_id(wire)) for wire in reader.messages))
    raise unreadable("neither messages nor a refusal", text.whole)


def decode_result(text: str) -> str | ErrorReply | None:
    """The result in the reply to a deletion, or the refusal; `None` if neither can be read."""
    try:
        reader = in_one_go(_read([text]))
    except expat.ExpatError as error:
        raise unreadable("not XML", text) from error
    if reader.root != "result":
        return None
    return error_reply(reader.result) or "".join(reader.texts)


def encode(records: Sequence[StatusRecord], detail: Detail, charset: str, *, bulk: bool) -> bytes:
    """Write one element on each line; the records of a bulk reply in a list."""
    elements = [_element("sms", _fields(record, detail, bulk=bulk)) for record in records]
    text = "\n".join(["<list>", *elements, "</list>"] if bulk else elements)
    return bytes_of(text, charset, "xmlcharrefreplace")


def encode_error(code: int, text: str, charset: str) -> bytes:
    """Write the refusal."""
    return bytes_of(_element("result", [("error", text), ("error_code", str(code))]), charset, "xmlcharrefreplace")


def encode_deletion(charset: str) -> bytes:
    """Write the answer to a deletion that succeeded."""
    return bytes_of("<result>OK</result>", charset)


def _fields(record: StatusRecord, detail: Detail, *, bulk: bool) -> list[tuple[str, str | None]]:
    found = record.status != NOT_FOUND
    return wire_values(
        record, columns_of(Format.XML, detail, hlr=isinstance(record, HlrRecord), found=found, bulk=bulk)
    )


def _element(name: str, fields: list[tuple[str, str | None]]) -> str:
    lines = [f"<{key}>{_escaped(value)}</{key}>" for key, value in fields if value is not None]
    return "\n".join([f"<{name}>", *lines, f"</{name}>"])


def _escaped(value: str) -> str:
    return _NO_XML.sub("\ufffd", _SPECIAL.sub(lambda found: _ESCAPES[found[0]], without_surrogates(value)))


class _Reader:
    """What expat found: the root's name, the messages as keys and texts, and the root's own texts."""

    def __init__(self) -> None:
        self.root = ""
        self.messages: list[Wire] = []
        self.result: Wire = {}
        self.texts: list[str] = []
        self._path: list[str] = []
        self._current: Wire = {}
        self._field_depth = 0
        self._pieces: list[str] = []
        self._nested = False

    def start(self, name: str, _attributes: object) -> None:
        """Enter an element: the root, a message, a field, or an element in a field, which then has no value."""
        path = self._path
        path.append(name)
        if len(path) == self._field_depth:
            self._nested = False
            self._pieces.clear()
        elif self._field_depth:
            self._nested = True
        elif path in _MESSAGES:
            self._current = {} if name == "sms" else self.result
            self._field_depth = len(path) + 1
            if name == "sms":
                self.messages.append(self._current)
        self.root = path[0]

    def end(self, name: str) -> None:
        """Leave an element. A field that came twice or holds elements gets a list as its value, which is refused."""
        depth = len(self._path)
        if depth == self._field_depth:
            value = "".join(self._pieces)
            self._current[name] = [value] if self._nested or name in self._current else value
        elif depth < self._field_depth:
            self._field_depth = 0
        self._path.pop()

    def data(self, text: str) -> None:
        """Take a piece of a text."""
        self._pieces.append(text)
        if self.root == "result" and len(self._path) == 1:
            self.texts.append(text)


def _read(pieces: Iterable[str]) -> Portions[_Reader]:
    """Parse a document. The encoding in its prologue is ignored, since it is decoded already.

    Raises:
        ExpatError: it is not well-formed.
        ProtocolError: it declares a document type, which could define entities.
    """
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = _refuse
    has_begun, blank = False, ""  # the whitespace around the document is left out
    for piece in pieces:
        if has_begun:
            yield
        text = blank + piece if has_begun else piece.lstrip()
        filled = text.rstrip()
        blank = text[len(filled) :]
        if filled:
            has_begun = True
            parser.Parse(filled, False)
    parser.Parse("", True)
    return reader


def _read_flat(text: ReplyText, asked: Sequence[Identity]) -> Portions[list[Row] | None]:
    """The rows of a document that is one message, or a list of messages, whose elements hold only texts.

    `None` for any other document, and for one that has an element twice or an entity that XML does not define. Control
    characters and other characters that XML forbids are tolerated.

    Raises:
        ProtocolError: there are far more messages than were asked about.
    """
    head, *parts = yield from text.split("<sms>")
    refuse_too_many_rows(len(parts), asked)
    begun = _FLAT_HEAD.fullmatch(head)
    if not begun or not parts:
        return None
    if begun[1]:
        parts[-1] = parts[-1].rstrip().removesuffix("</list>")
    elif len(parts) > 1:
        return None
    rows: list[Row] = []
    for lines in parts:
        if rows and not len(rows) % ROWS:
            yield
        part = lines.replace("\r\n", "\n").replace("\r", "\n")
        pairs = _FLAT_FIELD.findall(part)
        message = dict(pairs)
        # the only "<" are two for each field and one for the message's end
        if part.count("<") != 2 * len(message) + 1 or not part.rstrip().endswith("</sms>"):
            return None
        if "&" in part:
            if "&" in _FLAT_FIELD.sub("", part):
                return None
            try:
                message = {name: _REFERENCE.sub(_character, value) for name, value in pairs}
            except ValueError:
                return None
        rows.append(record_of(_with_id(message)))
    return rows


def _character(reference: re.Match[str]) -> str:
    name, decimal, hexadecimal = reference.groups()
    if name:
        return _REFERRED[name]
    character = chr(int(decimal or "0") if hexadecimal is None else int(hexadecimal, 16))
    if _NO_XML.match(character):  # true also for a bare "&", which refers to nothing and was read as 0
        raise ValueError
    return character


def _refuse(name: str, *_declared: object) -> None:
    raise unreadable("a document type is declared", f"<!DOCTYPE {name}")


def _with_id(wire: Wire) -> Wire:
    if isinstance(wire.get("id"), str):
        wire["id"] = text_id(wire["id"])
    return wire


def _piecewise(chunks: list[str], asked: Sequence[Identity], *, bulk: bool) -> Portions[list[Row]]:
    """Read each message by itself. Messages between two unreadable ones may be forged by texts inside them."""
    rows = yield from list_in_portions(map(_chunk, chunks))
    if not bulk:
        return [rows[0] if len(rows) == 1 else bad_row("several messages where one was asked", {})]
    if len(rows) == len(asked) and all(map(_may_be, rows, asked)):
        return [with_index(row, position) for position, row in enumerate(rows)]
    broken = [position for position, row in enumerate(rows) if isinstance(row, BadRow)]
    doubtful = range(broken[0], broken[-1]) if broken else ()
    return [
        bad_row("beside a message that can't be read", _whose(row)) if position in doubtful else row
        for position, row in enumerate(rows)
    ]


def _chunks(text: str) -> Iterator[str]:
    start = text.find("<sms>")
    end = text.find("</sms>", start)
    while 0 <= start < end:
        end += len("</sms>")
        yield text[start:end]
        start = text.find("<sms>", end)
        end = text.find("</sms>", start)


def _chunk(chunk: str) -> Row:
    try:
        reader = in_one_go(_read([chunk]))
    except expat.ExpatError:
        return bad_row("not XML", {"chunk": chunk})
    return record_of(_with_id(reader.messages[0]))


def _whose(row: Row) -> Mapping[str, Any]:
    return {"id": None if row.id is None else text_id(str(row.id)), "phone": row.phone}


def _may_be(row: Row, whose: Identity) -> bool:
    """Whether the row names this message, or can't be read."""
    if isinstance(row, BadRow):
        return True
    if row.id is None or key_of(str(row.id)) != whose[0]:
        return False
    return row.phone is None or phone_key(row.phone) == whose[1]
