"""The bytes of an input."""

from __future__ import annotations

import pytest

from smsc_status.cli._encodings import Decoder, what_it_is
from smsc_status.errors import ConfigError


def decoded(content: bytes, encoding: str | None = None, *, size: int = 1) -> list[str]:
    decoder = Decoder(encoding)
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    lines = b"".join(decoder.lines_of(chunk) for chunk in chunks) + decoder.lines_of(b"", final=True)
    return [decoder.text(line) for line in lines.split(b"\n")]


TEXT = "id,имя\nЖ,ё"


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "windows-1251"])
def test_a_charset_is_found_whatever_the_chunks(encoding: str, size: int) -> None:
    """However the bytes come."""
    assert decoded(TEXT.encode(encoding), size=size) == TEXT.split("\n")


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "cp1251", "koi8-r", "cp866", "utf-16-le", "utf-16", "utf-7"])
def test_a_named_charset_is_used(encoding: str) -> None:
    """Also one in which a newline is no byte of its own."""
    assert decoded(TEXT.encode(encoding), encoding) == TEXT.split("\n")


def test_a_named_charset_is_no_guess() -> None:
    """A byte order mark is taken off all the same."""
    assert decoded(TEXT.encode("utf-8-sig"), "utf-8") == TEXT.split("\n")
    decoder = Decoder("utf-8")
    with pytest.raises(UnicodeDecodeError):
        decoder.text("я".encode("cp1251"))
    assert not decoder.is_guess


def test_a_guessed_charset_is_reported() -> None:
    decoder = Decoder()
    assert decoder.encoding == "UTF-8"
    assert decoder.text("я".encode("cp1251")) == "я"
    assert (decoder.encoding, decoder.is_guess) == ("windows-1251", True)
    with pytest.raises(UnicodeDecodeError):
        decoder.text(b"\x98")  # which windows-1251 lacks


@pytest.mark.parametrize("encoding", ["no such", "hex", "a\0b", ""])
def test_an_unknown_charset_is_refused(encoding: str) -> None:
    with pytest.raises(ConfigError, match=r"^--encoding .*: expected one such as utf-8"):
        Decoder(encoding)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"PK\x03\x04rest", ".xlsx"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ".xls"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\x7fELF\0\1\2\n", "binary"),
        (b"\x01\x02\x03abc\n", "binary"),
        ("id".encode("utf-16-le"), "utf-16-le"),
        ("id".encode("utf-16-be"), "utf-16-be"),
        (b"id\r1\r", "CR"),
    ],
)
def test_files_that_are_no_text_are_recognised(head: bytes, what: str) -> None:
    found = what_it_is(head)
    assert found is not None
    assert what in found


@pytest.mark.parametrize(
    "head", [b"", b"id,phone\n", b"id,phone\r\n1,7\r\n", b"id,phone\r", b"id,phone", "имя".encode("cp1251")]
)
def test_a_file_that_may_be_text_is_read_as_text(head: bytes) -> None:
    assert what_it_is(head) is None
