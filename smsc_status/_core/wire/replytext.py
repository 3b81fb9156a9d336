"""The text of a reply. A long reply is decoded in portions, because decoding all of it at once takes too long."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from functools import cached_property
from io import BytesIO

from smsc_status._core.wire.portions import Portions

CHARSETS = ("windows-1251", "utf-8", "koi8-r")
"""In each of these, every ASCII character is one byte, and no other character has that byte in it."""

DECODED = 1 << 20
"""How many bytes are decoded in a portion, at least. That takes 1 to 3 ms."""

_BOM = b"\xef\xbb\xbf"


class ReplyText:
    """A reply's bytes, and its text in this charset. A byte that the charset lacks becomes U+FFFD."""

    def __init__(self, body: bytes, charset: str) -> None:
        self.body = body.removeprefix(_BOM)
        self._charset = charset

    @cached_property
    def whole(self) -> str:
        """The text as one string."""
        return self.text_of(self.body)

    def text_of(self, part: bytes) -> str:
        """The text of a part of the body that begins and ends between two characters."""
        return part.decode(self._charset, "replace")

    def split(self, separator: str) -> Portions[list[str]]:
        """What `whole.split(separator)` gives. The separator is of ASCII characters."""
        body, mark = self.body, separator.encode()
        parts: list[str] = []
        began_at = 0
        while (ended_at := body.find(mark, began_at + DECODED)) >= 0:
            parts += self.text_of(body[began_at:ended_at]).split(separator)
            began_at = ended_at + len(mark)
            yield
        parts += self.text_of(body[began_at:]).split(separator)
        return parts

    def lines(self) -> Portions[list[str]]:
        r"""What `whole.strip("\r\n").split("\n")` gives."""
        lines = yield from self.split("\n")
        while len(lines) > 1 and not lines[-1].strip("\r"):
            lines.pop()
        del lines[: next((position for position, line in enumerate(lines) if line.strip("\r")), 0)]
        lines[0] = lines[0].lstrip("\r")
        lines[-1] = lines[-1].rstrip("\r")
        return lines

    def pieces(self) -> Iterator[str]:
        """The text in pieces of any length."""
        decoder = codecs.getincrementaldecoder(self._charset)("replace")
        for ended_at in range(DECODED, len(self.body) + DECODED, DECODED):
            yield decoder.decode(self.body[ended_at - DECODED : ended_at], final=ended_at >= len(self.body))

    def in_utf8(self) -> Portions[bytes]:
        """The text's bytes in UTF-8. If that is its charset, the body as it is."""
        if self._charset == "utf-8":
            return self.body
        translated = BytesIO()  # grows without a copy
        for began_at in range(0, len(self.body), DECODED):  # in the other charsets a character is one byte
            if began_at:
                yield
            translated.write(self.text_of(self.body[began_at : began_at + DECODED]).encode())
        return translated.getvalue()
