"""Finds the charset of an input's bytes, and whether they are text at all."""

from __future__ import annotations

import codecs

from smsc_status.errors import ConfigError

UTF_8, WINDOWS_1251 = "utf-8", "windows-1251"
HEAD_BYTES = 4096
"""How many bytes at the beginning of a file are looked at to see what it is."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LONGEST_MARK = 4
_KINDS = (
    (b"PK\x03\x04", "an Excel workbook (.xlsx) or another ZIP archive: save the table as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls): save the table as CSV"),
    (b"\x1f\x8b", "compressed by gzip: unpack it first"),
    (b"%PDF-", "a PDF document: expected CSV or JSON lines"),
)
_TEXT_CONTROLS = b"\t\n\r\f\x1b"
_MOST_CONTROLS = 0.05


class Decoder:
    """Turns the bytes of an input into text.

    If no encoding is named, UTF-16 and UTF-32 are recognised by their byte order marks. Anything else is UTF-8, or
    windows-1251 if the first line that is not ASCII is not valid UTF-8.

    Attributes:
        is_guess: whether windows-1251 was chosen in that way.

    Raises:
        ConfigError: there is no such encoding.
    """

    def __init__(self, encoding: str | None = None) -> None:
        self.is_guess = False
        self._encoding = _known(encoding) if encoding is not None else None
        self._wide: codecs.IncrementalDecoder | None = None
        self._beginning: bytes | None = b""
        if self._encoding is not None and not _keeps_ascii(self._encoding):
            self._decode_wide(self._encoding)

    @property
    def encoding(self) -> str:
        """The name of the encoding, for the user; UTF-8 until another one is known."""
        return "UTF-8" if self._encoding in (None, UTF_8) else str(self._encoding)

    def lines_of(self, chunk: bytes, *, final: bool = False) -> bytes:
        """The next bytes of the input, in a charset in which a newline is one byte."""
        if self._beginning is not None:
            self._beginning += chunk
            if len(self._beginning) < _LONGEST_MARK and not final:
                return b""
            chunk, self._beginning = self._beginning, None
            chunk = self._without_mark(chunk)
        return chunk if self._wide is None else self._wide.decode(chunk, final).encode()

    def text(self, line: bytes) -> str:
        """The text of a line.

        Raises:
            UnicodeDecodeError: the line is not in this encoding.
        """
        if self._encoding is None:
            if line.isascii():
                return line.decode("ascii")
            try:
                text = line.decode(UTF_8)
            except UnicodeDecodeError:
                self._encoding, self.is_guess = WINDOWS_1251, True
            else:
                self._encoding = UTF_8
                return text
        return line.decode(self._encoding)

    def _without_mark(self, chunk: bytes) -> bytes:
        if self._encoding is None:
            mark = next((name for mark, name in _MARKS if chunk.startswith(mark)), None)
            if mark is not None:
                self._decode_wide(mark)
        if self._encoding in (None, UTF_8) and chunk.startswith(codecs.BOM_UTF8):
            self._encoding = UTF_8
            return chunk.removeprefix(codecs.BOM_UTF8)
        return chunk

    def _decode_wide(self, encoding: str) -> None:
        self._wide = codecs.getincrementaldecoder(encoding)("replace")
        self._encoding = UTF_8


def what_it_is(head: bytes) -> str | None:
    """What a file that begins with these bytes is, if it is not text in lines; `None` if it may be text."""
    kind = next((kind for mark, kind in _KINDS if head.startswith(mark)), None)
    if kind is not None:
        return kind
    if b"\0" in head:
        if head[1::2].count(0) > len(head) // 4 or head[::2].count(0) > len(head) // 4:
            return "UTF-16 without a byte order mark: name it with --encoding utf-16-le or utf-16-be"
        return "a binary file: expected CSV or JSON lines"
    controls = sum(byte < 0x20 and byte not in _TEXT_CONTROLS for byte in head)
    if controls > _MOST_CONTROLS * len(head):
        return "a binary file: expected CSV or JSON lines"
    if b"\n" not in head and b"\r" in head.rstrip(b"\r"):
        return "a text whose lines end with carriage returns alone (CR): save it with line feeds (LF or CRLF)"
    return None


def _known(encoding: str) -> str:
    try:
        "".encode(encoding)
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        expected = "expected one such as utf-8, windows-1251, koi8-r or utf-16"
        raise ConfigError(f"--encoding {encoding[:60]!r}: {expected}") from None
    return {"cp1251": WINDOWS_1251}.get(name, name)


def _keeps_ascii(encoding: str) -> bool:
    sample = bytes(range(128))
    return sample.decode(encoding, "replace").encode("ascii", "replace") == sample
