"""The shared log in Redis or Valkey: one stream for each account.

What the scripts do is in `redis_scripts`; how the log's time is kept is in `server_clock`.

A reply can get lost after its command was executed. The call then raises `LimiterUnavailable`, and the caller can't
know whether its entry is in the log. So it reads, and looks for its own entry, before it appends anything else.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Final

from smsc_status import _loops
from smsc_status._core.scheduling.ledger import Entry
from smsc_status._sharing import redis_scripts
from smsc_status._sharing.redis_scripts import Answer
from smsc_status._sharing.redis_url import Address, parse_url
from smsc_status._sharing.server_clock import MICROSECONDS, ServerClock
from smsc_status._sharing.store import NoLog, Tail
from smsc_status.errors import ConfigError, LimiterUnavailable

if TYPE_CHECKING:
    from smsc_status._sharing.redis_connection import Connection

logger = logging.getLogger("smsc_status")

BLOCK_SECONDS: Final = 20.0
"""`wait` returns after this time at the latest. So a connection that nobody serves any more is noticed."""

WORTH_DROPPING: Final = 300
"""Old entries are dropped when there are at least this many."""

TRIES: Final = 3
"""A command that arrives too late is sent at most this many times."""


class RedisStore:
    """A log in a Redis or Valkey server, as a `Store`.

    `name` names the account; it must hold no secret, because the server shows it. `tolerance` is by how many seconds
    the server's clock may be off before the log's time is corrected; use half of the margin at most. `clock` gives
    seconds on a clock that nobody sets and that counts sleep.

    Raises:
        ConfigError: the URL can't be used, or hiredis is not installed.
    """

    is_instant = False

    def __init__(
        self,
        url: str | Address,
        name: str,
        *,
        tolerance: float = 0.5,
        clock: Callable[[], float] = _loops.boot_now,
    ) -> None:
        self._address = parse_url(url) if isinstance(url, str) else url
        self.where = f"{self._address.where} (key smsc_status:{{{name}}})"
        self._key = f"smsc_status:{{{name}}}".encode()
        self._read_clock = clock
        self._clock = ServerClock(int(tolerance * MICROSECONDS))
        connection = connection_class()
        self._commands, self._waiting = connection(self._address), connection(self._address)
        # The last entry that is known.
        self._log = ""
        self._incarnation = self._number = 0
        self._dropped_before = 1
        self._has_checked_policy = False

    def __repr__(self) -> str:
        return f"RedisStore({self.where!r})"

    def now(self) -> float:
        """The present instant on the log's clock. It is never ahead of the stamps to come by more than `tolerance`."""
        now = self._clock.now(self._own())
        return -inf if now is None else now / MICROSECONDS

    async def append(self, data: bytes | None, *, log: str, after: int) -> Tail:
        """As in `Store`. If the server's clock has just been set, the log's time is corrected first."""
        run, incarnation = _parts(log)
        start = b"%d-%d" % (incarnation, after + 1)
        if data is None:
            return await self._rest(await self._read(start), log, after)
        if not self._clock.is_known:
            await self._read(start)
        expected = b"%d-%d" % (incarnation, after), run.encode()
        answer = await self._run(
            redis_scripts.append, lambda sent: [start, *expected, *self._timing(sent), start, data], again=False
        )
        if answer.what != "appended":
            return await self._rest(answer, log, after)
        self._number = answer.number
        return Tail(log, [Entry(answer.number, answer.stamp / MICROSECONDS, data)], is_appended=True)

    def append_at_once(self, data: bytes | None, *, log: str, after: int) -> Tail | None:
        """Nothing is done at once: the server is asked, and its reply takes time."""
        return None

    async def begin(self, data: Sequence[bytes], *, instead_of: str) -> Tail:
        """As in `Store`. A log that lacks entries that this process has seen is not usable.

        Raises:
            NoLog: somebody else has begun a log, and it is gone again.
        """
        if not self._clock.is_known:
            await self._read(b"-")
        known = max(self._incarnation, _parts(instead_of)[1])
        position = b"%d" % known, b"%d" % (self._number if known == self._incarnation else 0)
        answer = await self._run(
            redis_scripts.begin, lambda sent: [instead_of.encode(), *position, *self._timing(sent), *data], again=False
        )
        if answer.what != "began":
            return await self._rest(answer, "", 0)
        self._met(answer)
        at = answer.stamp / MICROSECONDS
        return Tail(answer.log, [Entry(number, at, one) for number, one in enumerate(data, 1)], is_whole=True)

    async def wait(self, *, log: str, after: int) -> None:
        """As in `Store`."""
        block = b"%d" % (BLOCK_SECONDS * 1000)
        last = b"%d-%d" % (_parts(log)[1], after)
        command = b"XREAD", b"COUNT", b"1", b"BLOCK", block, b"STREAMS", self._key, last
        await self._waiting.call(*command, block=BLOCK_SECONDS, again=True)

    async def drop(self, *, log: str, before: int) -> None:
        """As in `Store`. The server keeps some entries more than it must, because that costs it less."""
        # The last entry stays in any case: without it nobody could tell where the log is.
        before = min(before, self._number)
        if log == self._log and before - self._dropped_before >= WORTH_DROPPING:
            least = b"%d-%d" % (self._incarnation, before)
            await self._commands.call(b"XTRIM", self._key, b"MINID", b"~", least, again=True)
            self._dropped_before = before

    async def forget(self) -> None:
        """As in `Store`. A key that holds something else stays.

        Raises:
            ConfigError: the key holds something else than a log.
        """
        await self._read(b"-")
        await self._commands.call(b"DEL", self._key, again=True)

    async def aclose(self) -> None:
        """As in `Store`."""
        await self._commands.aclose()
        await self._waiting.aclose()

    # Commands and what they tell of the server's clock.

    async def _read(self, start: bytes) -> Answer:
        return await self._run(redis_scripts.append, lambda _: [start], again=True)

    def _timing(self, sent: int) -> list[bytes]:
        return [b"%d" % number for number in (*self._clock.bounds(sent), self._clock.correction)]

    async def _run(
        self, script: redis_scripts.Script, arguments: Callable[[int], list[bytes]], *, again: bool
    ) -> Answer:
        """The script's answer. The arguments depend on when it is sent, in microseconds on the own clock."""
        sent = 0

        def timed() -> list[bytes]:
            nonlocal sent
            sent = self._own()
            return arguments(sent)

        await self._check_policy()
        for _ in range(TRIES):
            answer = self._answer(await self._commands.run(script, self._key, timed, again=again))
            self._observe(answer, sent, self._own() + 1)
            if answer.what != "beyond":
                return answer
        raise LimiterUnavailable(
            f"the shared log at {self._address.name}: a command takes longer than "
            f"{self._clock.tolerance / MICROSECONDS:g} s to get there, or the server's clock is set again and again"
        )

    def _answer(self, reply: object) -> Answer:
        try:
            return Answer.of(reply, self.where)
        except ConfigError:  # it is a `ValueError`, too
            raise
        except (ValueError, TypeError, AttributeError):
            pass  # the error that is raised below needs no other one beside it
        raise LimiterUnavailable(
            f"the shared log at {self._address.name}: the server runs no scripts as Redis and Valkey do"
        )

    def _own(self) -> int:
        return int(self._read_clock() * MICROSECONDS)

    def _observe(self, answer: Answer, sent: int, received: int) -> None:
        step = self._clock.observe(
            answer.raw,
            sent=sent,
            received=received,
            logged=answer.correction if answer.is_usable else None,
            last=answer.stamp if answer.is_usable else 0,
        )
        if step:
            logger.warning(
                "the clock of the server at %s was set by %+.3f s, or another server has taken over; the shared log's "
                "time is corrected",
                self._address.name,
                step / MICROSECONDS,
            )

    async def _check_policy(self) -> None:
        if self._has_checked_policy:
            return
        told = await self._commands.call(b"INFO", b"memory", again=True)
        found = re.search(rb"maxmemory_policy:(allkeys-[\w-]+)", told if isinstance(told, bytes) else b"")
        self._has_checked_policy = True
        if found is not None:
            logger.warning(
                "the server at %s may evict the shared log (maxmemory-policy %s); each time that happens, nothing is "
                "sent for more than a minute: use a volatile-* policy or noeviction",
                self._address.name,
                found[1].decode(),
            )

    # What the answers tell of the log.

    async def _rest(self, answer: Answer, log: str, after: int) -> Tail:
        """The entries after the given one, of which `answer` holds the first page."""
        self._check(answer, log, after)
        name, entries = answer.log, answer.entries
        while entries and entries[-1].number < answer.number:
            last = entries[-1].number
            answer = await self._read(answer.id(last + 1))
            self._check(answer, name, last)
            if answer.log != name or [entry.number for entry in answer.entries[:1]] != [last + 1]:
                # The log was replaced, or the entries were dropped, between two pages.
                return await self._rest(await self._read(b"-"), "", 0)
            entries = entries + answer.entries
        self._met(answer)
        is_whole = name != log or (bool(entries) and entries[0].number != after + 1)
        return Tail(name, entries, is_whole=is_whole)

    def _check(self, answer: Answer, log: str, after: int) -> None:
        """See whether one can go on with this log.

        Raises:
            NoLog: one can't.
        """
        incarnation = _parts(log)[1]
        now = (answer.raw + self._clock.correction) / MICROSECONDS
        if not answer.number:
            is_first = answer.what != "empty" and not log and not self._log
            raise NoLog("there is no log", None if self._address.assume_idle and is_first else now)
        if not answer.is_usable:
            raise NoLog("the server was restarted, or another one has taken over", now)
        position = answer.incarnation, answer.number
        if position < max((incarnation, after), (self._incarnation, self._number)):
            raise NoLog("the log lacks its last entries", now)
        if answer.what == "missing" or answer.has_gap or (answer.log != log and answer.incarnation == incarnation):
            raise NoLog("the log lacks entries", now)

    def _met(self, answer: Answer) -> None:
        if answer.log != self._log:
            self._dropped_before = 1
        self._log, self._incarnation, self._number = answer.log, answer.incarnation, answer.number


def connection_class() -> type[Connection]:
    """What speaks with the server.

    Raises:
        ConfigError: hiredis is not installed.
    """
    try:
        from smsc_status._sharing.redis_connection import Connection  # noqa: PLC0415 (only where a URL is used)
    except ModuleNotFoundError as error:
        if error.name != "hiredis":
            raise
    else:
        return Connection
    raise ConfigError("share: a URL needs the package hiredis: expected pip install 'smsc-status[redis]' before")


def _parts(log: str) -> tuple[str, int]:
    """The server's `run_id` and the incarnation in a log's name."""
    run, _, incarnation = log.partition("/")
    return run, int(incarnation or 0)
