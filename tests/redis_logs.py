"""What tests of the log in Redis have in common."""

from __future__ import annotations

import time

import pytest

from smsc_status._sharing.redis import RedisStore
from smsc_status._sharing.store import NoLog, Tail


async def log_of(store: RedisStore, entries: int = 1) -> str:
    """Begin a log with so many entries."""
    with pytest.raises(NoLog):
        await store.append(None, log="", after=0)
    return (await store.begin([b"%d" % number for number in range(1, entries + 1)], instead_of="")).log


async def refuses(store: RedisStore, log: str, after: int, reason: str) -> None:
    """Neither reading nor appending goes on with that log, and it stays as it is."""
    for data in (b"x", None):
        with pytest.raises(NoLog, match=reason) as caught:
            await store.append(data, log=log, after=after)
        assert caught.value.quiet_from is not None
        assert caught.value.quiet_from == pytest.approx(time.time(), abs=40)


async def goes_on(store: RedisStore, log: str) -> Tail:
    """Begin another log, and append to it."""
    tail = await store.begin([b"new"], instead_of=log)
    assert tail.log != log
    assert (await store.append(b"x", log=tail.log, after=1)).is_appended
    return tail
