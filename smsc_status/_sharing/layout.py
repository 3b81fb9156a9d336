"""The bytes of a log file: a header, a cell that says how much counts, and the records.

| from | what |
|---|---|
| 0 | the header, which never changes within a file |
| 80 | the cell: the committed length, the last record's checksum, the cell's own checksum |
| 96 | the records: the data's length, the stamp, the checksum, the data |

A record counts if it lies within the committed length, which is the number of bytes from the file's beginning. The cell
is written last, in one call, so bytes after the committed length are what a killed process has left. They are dropped.

A record's checksum continues that of the record before it. So a file that was put back from a copy is noticed when it
goes on in another way than its readers know. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple, Self
from zlib import crc32

import attrs

from smsc_status._core.scheduling.ledger import Entry
from smsc_status.errors import ConfigError

MAGIC: Final = b"\x93smsclog"
FORMAT: Final = 1
"""The version of this layout."""

_START: Final = struct.Struct("<8sI")  # the same in all versions
_HEADER: Final = struct.Struct("<8sII16sQ16sQQ")
_CHECKSUM: Final = struct.Struct("<I4x")
_CELL: Final = struct.Struct("<QI")
_CELL_CHECKSUM: Final = struct.Struct("<I")
_RECORD: Final = struct.Struct("<Id")
_RECORD_AND_CHECKSUM: Final = struct.Struct("<IdI")

HEADER_BYTES: Final = _HEADER.size + _CHECKSUM.size
CELL_BYTES: Final = _CELL.size + _CELL_CHECKSUM.size
START: Final = HEADER_BYTES + CELL_BYTES
"""Where the records begin."""
RECORD_BYTES: Final = _RECORD_AND_CHECKSUM.size
"""How many bytes a record has besides its data."""


class Damaged(Exception):
    """The bytes are not what was written."""


@attrs.frozen
class Machine:
    """What the stamps belong to: the boot, and the time namespace, which has a clock of its own."""

    boot: bytes
    time_namespace: int


@attrs.frozen
class Header:
    """What a file says about its log. `generation` counts how often old records were dropped."""

    machine: Machine
    log: str
    generation: int
    first: int
    """The number of the first record; if there is none, of the one to come."""
    checksum: int
    """The checksum of the record before the first."""

    def __bytes__(self) -> bytes:
        content = _HEADER.pack(
            MAGIC, FORMAT, self.checksum, self.machine.boot, self.machine.time_namespace,
            bytes.fromhex(self.log), self.generation, self.first,
        )  # fmt: skip
        return content + _CHECKSUM.pack(crc32(content))

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """Read the first `HEADER_BYTES` bytes of a file.

        Raises:
            ConfigError: they are not of such a file, or of one of another version.
            Damaged: they have been changed.
        """
        require_log(raw)
        if len(raw) < HEADER_BYTES:
            raise Damaged("the header is cut off")
        _, version = _START.unpack_from(raw)
        if version != FORMAT:
            raise ConfigError(f"the file is of version {version}: expected {FORMAT}, the one of this smsc_status")
        if crc32(raw[: _HEADER.size]) != _CHECKSUM.unpack_from(raw, _HEADER.size)[0]:
            raise Damaged("the header has been changed")
        _, _, checksum, boot, namespace, name, generation, first = _HEADER.unpack_from(raw)
        return cls(Machine(boot, namespace), name.hex(), generation, first, checksum)


def require_log(raw: bytes) -> None:
    """See whether these are the first bytes of such a file, of whichever version.

    Raises:
        ConfigError: they are not.
    """
    if raw[: len(MAGIC)] != MAGIC:
        raise ConfigError("expected a log of smsc_status, got a file with other content")


def cell(committed: int, checksum: int) -> bytes:
    """The cell of a file of `committed` bytes whose last record has this checksum."""
    content = _CELL.pack(committed, checksum)
    return content + _CELL_CHECKSUM.pack(crc32(content))


def read_cell(raw: bytes) -> tuple[int, int]:
    """The committed length and the last record's checksum, from the bytes after the header.

    Raises:
        Damaged: they have been changed.
    """
    if len(raw) < CELL_BYTES or crc32(raw[: _CELL.size]) != _CELL_CHECKSUM.unpack_from(raw, _CELL.size)[0]:
        raise Damaged("the committed length has been changed")
    committed, checksum = _CELL.unpack_from(raw)
    return committed, checksum


def record(data: bytes, at: float, checksum: int) -> tuple[bytes, int]:
    """A record after one with this checksum, and its own checksum."""
    head = _RECORD.pack(len(data), at)
    checksum = crc32(data, crc32(head, checksum))
    return head + _CELL_CHECKSUM.pack(checksum) + data, checksum


def records(entries: list[tuple[bytes, float]], checksum: int) -> tuple[bytes, int]:
    """Several records, one after the other."""
    parts = []
    for data, at in entries:
        raw, checksum = record(data, at, checksum)
        parts.append(raw)
    return b"".join(parts), checksum


class Found(NamedTuple):
    """Records that were read: the entries, and the checksum of each record."""

    entries: Sequence[Entry]
    checksums: list[int]


def read_records(raw: bytes, *, number: int, checksum: int) -> Found:
    """Read records. The first has this number and follows one with this checksum.

    Raises:
        Damaged: they have been changed.
    """
    entries: list[Entry] = []
    checksums: list[int] = []
    position, size, head = 0, len(raw), _RECORD.size
    while position < size:
        data_at = position + RECORD_BYTES
        if data_at > size:
            raise Damaged(f"record {number} is cut off")
        length, stamp, expected = _RECORD_AND_CHECKSUM.unpack_from(raw, position)
        end = data_at + length
        data = raw[data_at:end]
        checksum = crc32(data, crc32(raw[position : position + head], checksum))
        if end > size or checksum != expected:
            raise Damaged(f"record {number} has been changed")
        entries.append(Entry(number, stamp, data))
        checksums.append(checksum)
        position = end
        number += 1
    return Found(entries, checksums)
