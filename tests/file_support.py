"""What the tests of the log in a file share."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from smsc_status._sharing.file import FileStore
from smsc_status._sharing.layout import HEADER_BYTES, Header
from smsc_status._sharing.store import NoLog, Tail


async def begun(path: Path, *data: bytes) -> tuple[FileStore, str]:
    store = FileStore(path)
    return store, (await store.begin(data, instead_of="")).log


async def whole(path: Path) -> Tail:
    return await FileStore(path).append(None, log="", after=0)


def contents(tail: Tail) -> list[tuple[int, bytes]]:
    return [(entry.number, entry.data) for entry in tail.entries]


def rewrite_header(path: Path, **changes: Any) -> None:
    raw = path.read_bytes()
    path.write_bytes(bytes(attrs.evolve(Header.of(raw[:HEADER_BYTES]), **changes)) + raw[HEADER_BYTES:])


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


async def no_log(store: FileStore, log: str = "", after: int = 0) -> NoLog:
    with pytest.raises(NoLog) as caught:
        await store.append(b"data", log=log, after=after)
    assert str(store.where) in str(caught.value)
    return caught.value


@contextmanager
def room_for(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
