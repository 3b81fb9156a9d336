"""The emulator itself: an ASGI app that answers as the vendor's `status.php` does, faults included."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import datetime
from email.utils import formatdate
from hashlib import md5
from typing import Any

import anyio
import attrs

from smsc_status._core.wire import codecs
from smsc_status.emulator._clock import EmulatedClock
from smsc_status.emulator._faults import ConnectionCut, Faults
from smsc_status.emulator._forms import DEFAULT_CHARSET
from smsc_status.emulator._limits import Referee, Refusal, Window
from smsc_status.emulator._query import Query, read_query
from smsc_status.emulator._world import World
from smsc_status.errors import ConfigError
from smsc_status.models import Detail, Format, Limits, StatusRecord

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

STATUS_PATH = "/sys/status.php"
STATS_PATH = "/emulator/stats"

ERROR_TEXTS = {
    1: "parameters error",
    2: "authorise error",
    4: "ip is blocked",
    5: "delete error",
    9: "duplicate request, wait a minute",
}
TOO_MANY = "too many concurrent requests"
MAX_BODY = 2_000_000
"""The longest body of a request, in bytes. As in PHP, a longer one counts as a body without fields."""

BLOCKED_AFTER, BLOCKED_WITHIN = 6, 60.0
_CHARSET = re.compile(r"[\w.:-]+", re.ASCII)
CONTENT_TYPES = {
    Format.PLAIN: "text/plain",
    Format.CSV: "text/plain",
    Format.XML: "text/xml",
    Format.JSON: "application/json",
}


@attrs.frozen(slots=True)
class _Answer:
    status: int
    content_type: str
    body: bytes


@attrs.define(slots=True)
class Connections:
    """Counts the TCP connections of the servers that serve an emulator. In the same process there are none."""

    open: int = 0
    peak: int = 0
    total: int = 0

    def made(self) -> None:
        """Count a connection that was opened."""
        self.open += 1
        self.total += 1
        self.peak = max(self.peak, self.open)

    def lost(self) -> None:
        """Count a connection that was closed."""
        self.open -= 1


class Emulator:
    """An ASGI app that answers `/sys/status.php` as the vendor's page says, and `/emulator/stats` with its own counts.

    The page leaves two things open, which are decided here as follows. A bulk deletion with a message that is not found
    is answered with error 5 and deletes nothing. A request that is answered with error 1, 2 or 4 counts as an open
    connection while it lasts, but does not count towards the other limits.

    The `Date` of each answer is the emulated date.

    Args:
        world: the messages that the emulator knows; by default an empty world.
        seed: the seed of the default world.
        speed: emulated seconds in a second. Statuses, the archive and the limits all go by the emulated time.
        wall_clock: returns the aware datetime at which the emulated time begins. It is called when the time is first
            needed; by default it is the system's clock.
        login: the login of the emulator's only account.
        password: the account's password. Its lower-case MD5 is accepted too.
        apikey: the account's API key. It is accepted as `apikey`, or as `psw` without a login.
        referee: counts requests against the limits, in emulated seconds; by default with the vendor's limits.
        enforce: whether to answer a request that breaks a limit with error 9. The referee counts it in any case.
        max_bulk: a bulk request with more messages is answered with error 1; `None` means that there is no such limit.
        faults: `Faults`, or a mapping of the faults' names to probabilities.
        latency: how long each answer takes, in seconds of the event loop, whatever the speed.
        header_charset: the charset that the Content-Type of an answer claims, whatever was asked for. By default
            windows-1251, as the vendor's server was seen to do; `None` means the charset that was asked for.
        phone_of_missing: whether a bulk answer at levels 1 and 2 has the phone of a message that is not found (-3), as
            it has at level 0. By default it has only the id, as the page says.
        empty_numbers: whether `fmt=1` prints nothing for a number that is missing. By default it prints 0, as the
            vendor does.

    Attributes:
        blocked: while it is true, every answer is error 4.
        errors: how often each error code was answered.
        connections: counts the TCP connections of the servers that serve this emulator.
    """

    def __init__(
        self,
        world: World | None = None,
        *,
        seed: int = 0,
        speed: float = 1.0,
        wall_clock: Callable[[], datetime] | None = None,
        login: str = "demo",
        password: str = "demo",  # noqa: S107 - it guards nothing
        apikey: str = "demo-key",
        referee: Referee | None = None,
        enforce: bool = True,
        max_bulk: int | None = None,
        faults: Faults | Mapping[str, float] | None = None,
        latency: float = 0.0,
        header_charset: str | None = DEFAULT_CHARSET,
        phone_of_missing: bool = False,
        empty_numbers: bool = False,
    ) -> None:
        if not latency >= 0:
            raise ConfigError(f"latency {latency!r}: expected seconds, at least 0")
        if header_charset is not None and _CHARSET.fullmatch(header_charset) is None:
            raise ConfigError(f"header_charset {header_charset!r}: expected a charset's name, or None")
        self.world: World = World(seed) if world is None else world
        self.clock: EmulatedClock = EmulatedClock(speed, wall_clock)
        self.referee: Referee = Referee() if referee is None else referee
        self.faults: Faults = faults if isinstance(faults, Faults) else Faults(seed)
        if isinstance(faults, Mapping):
            self.faults.change(**faults)
        self.enforce = enforce
        self.max_bulk = max_bulk
        self.latency = latency
        self.header_charset = header_charset
        self.phone_of_missing = phone_of_missing
        self.empty_numbers = empty_numbers
        self.blocked = False
        self.errors: Counter[int] = Counter()
        self.connections: Connections = Connections()
        self._login = login
        self._passwords = (password, md5(password.encode(), usedforsecurity=False).hexdigest())
        self._apikey = apikey
        self._refused = Window(BLOCKED_WITHIN)
        self._blocked_until = 0.0

    def now(self) -> float:
        """The emulated date, in seconds since 1970."""
        return self.clock.now()

    def advance(self, seconds: float) -> None:
        """Move the emulated time on by this many emulated seconds, at once: messages age, and the limits' windows pass.

        If the running event loop is in virtual time (`smsc_status.emulator.virtual.VirtualLoop`, or trio with its
        `MockClock`), its clock moves by as much, and the client's with it. Timers that come due meanwhile fire
        afterwards, all together. To have everything happen at its own instant, `await anyio.sleep(seconds)` instead.

        In real time only the emulated time moves. The client's limits go by the event loop, and are still kept.

        Raises:
            ConfigError: `seconds` is negative or not finite.
        """
        self.clock.advance(seconds)

    def elapsed(self) -> float:
        """Emulated seconds since the emulator was first used."""
        return self.clock.elapsed()

    def wall_clock(self) -> datetime:
        """The emulated date as an aware datetime, for `StatusClient(wall_clock=emulator.wall_clock)`.

        At a raised `speed` messages age faster than the system's clock tells. A client that reads the emulated date
        knows their true ages, and so their archive deadlines.
        """
        return self.clock.wall_clock()

    def client_limits(self, **others: Any) -> Limits:
        """The `Limits` of a client that is as fast as this emulator allows, for `StatusClient(limits=...)`.

        The counts and the `period` are the referee's. `margin` and `linger` are a client's usual ones. `period`,
        `margin` and `linger` are divided by `speed`, since a client counts seconds of the event loop. The fault
        `late_arrival` takes seconds of the event loop too, whatever the speed: if it is switched on, give
        `linger=emulator.faults.seconds`.

        ```python
        emulator = Emulator(speed=60)
        client = StatusClient(
            apikey="demo-key",
            base_url="http://localhost",
            transport=httpx.ASGITransport(app=emulator),
            wall_clock=emulator.wall_clock,
            limits=emulator.client_limits(),
        )
        ```

        Args:
            others: arguments of `Limits` that replace those above.

        Raises:
            ConfigError: `Limits` does not accept these arguments.
        """
        usual, speed = Limits(), self.clock.speed
        return Limits(
            **{
                "checks_per_id": self.referee.checks_per_id,
                "bulk_requests": self.referee.bulk_requests,
                "connections": self.referee.connections,
                "period": self.referee.period / speed,
                "margin": usual.margin / speed,
                "linger": usual.linger / speed,
                "max_bulk": self.max_bulk or usual.max_bulk,
            }
            | others
        )

    def stats(self) -> dict[str, object]:
        """The counts so far, ready for JSON: the same as at `/emulator/stats`."""
        return self.referee.stats() | {
            "errors": {str(code): self.errors[code] for code in ERROR_TEXTS},
            "blocked": self._is_blocked(),
            "faults": dict(self.faults.happened),
            "connections": attrs.asdict(self.connections),
            "elapsed": self.elapsed(),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Other kinds of ASGI scope are ignored."""
        if scope["type"] != "http":
            return
        if scope["path"] == STATS_PATH:
            await self._send(send, _Answer(200, "application/json", json.dumps(self.stats()).encode()))
        elif scope["path"] != STATUS_PATH:
            await self._send(send, _page(404))
        elif scope["method"] not in ("GET", "POST"):
            await self._send(send, _page(405))
        else:
            body = await _read(receive)
            await self._serve(read_query(scope["query_string"], body, _content_type(scope)), send)

    async def _serve(self, query: Query, send: Send) -> None:
        await _pause(self.faults.wait("late_arrival"))
        code = self._objection(query)
        refusal = self.referee.arrived(
            query.ids, query.kind, at=self.elapsed(), is_bulk=query.is_bulk, is_valid=code is None
        )
        try:
            await _pause(self.latency)
            body = self._refused_body(query, code, ERROR_TEXTS[code]) if code else self._body(query, refusal)
            await _pause(self.faults.wait("delay"))
            await self._deliver(self._damaged(self._answer(query, body)), send)
        finally:
            self.referee.left()

    def _refused_body(self, query: Query, code: int, text: str) -> bytes:
        self.errors[code] += 1
        return codecs.encode_error(code, text, format=query.format, charset=query.charset)

    def _body(self, query: Query, refusal: Refusal | None) -> bytes:
        """The body of the answer to a valid request. `refusal` is the limit that it breaks, if any."""
        is_enforced = refusal is not None and self.enforce
        if is_enforced or self.faults.happens("spurious_9"):
            self._count_error_9()
            is_too_many = is_enforced and refusal is Refusal.CONNECTIONS
            return self._refused_body(query, 9, TOO_MANY if is_too_many else ERROR_TEXTS[9])
        if query.is_deletion:
            if not self.world.delete_all(query.messages, at=self.now()):
                return self._refused_body(query, 5, ERROR_TEXTS[5])
            return codecs.encode_deletion(format=query.format, charset=query.charset)
        records = self._records(query)
        return codecs.encode(
            records,
            format=query.format,
            detail=query.detail,
            charset=query.charset,
            bulk=query.is_bulk,
            empty_numbers=self.empty_numbers,
        )

    def _objection(self, query: Query) -> int | None:
        """The error code for what is wrong with the request itself, whatever the limits say; `None` if nothing is."""
        if self._is_blocked():
            return 4
        if not query.credentials:
            return 1
        if not self._is_allowed(query.credentials):
            return 2
        if not query.is_valid or (self.max_bulk is not None and len(query.messages) > self.max_bulk):
            return 1
        return None

    def _is_allowed(self, credentials: Mapping[str, str]) -> bool:
        if "apikey" in credentials:
            return credentials["apikey"] == self._apikey
        password = credentials.get("psw", "")
        if not credentials.get("login"):
            return password == self._apikey
        return credentials["login"] == self._login and password in self._passwords

    def _is_blocked(self) -> bool:
        return self.blocked or self.elapsed() < self._blocked_until

    def _count_error_9(self) -> None:
        """Count an error 9. Block the address if there were too many of them and the fault `ip_blocked` happens."""
        now = self.elapsed()
        if self._refused.add("9", now) >= BLOCKED_AFTER and self.faults.happens("ip_blocked"):
            self._blocked_until = now + self.faults.block_seconds

    def _records(self, query: Query) -> list[StatusRecord]:
        now = self.now()
        records = [self.world.record(id, phone, at=now) for id, phone in query.messages]
        self.referee.messages += len(records)
        if not query.is_bulk:
            return records
        if query.detail is not Detail.BASIC and not self.phone_of_missing:
            records = [attrs.evolve(record, phone=None) if record.status == -3 else record for record in records]
        return self.faults.spoil_records(records)

    def _answer(self, query: Query, body: bytes) -> _Answer:
        charset = self.header_charset or query.charset
        return _Answer(200, f"{CONTENT_TYPES[query.format]}; charset={charset}", body)

    def _damaged(self, answer: _Answer) -> _Answer:
        """The answer as it goes out: as it is, or damaged or replaced by a fault."""
        status = self.faults.http_error()
        if status is not None:
            return _page(status)
        if self.faults.happens("html"):
            return _page(200)
        if self.faults.happens("empty"):
            return attrs.evolve(answer, body=b"")
        return attrs.evolve(answer, body=self.faults.spoil_body(answer.body))

    async def _deliver(self, answer: _Answer, send: Send) -> None:
        if self.faults.happens("cut"):
            raise ConnectionCut("the emulator cut the connection before its answer")
        if self.faults.happens("cut_halfway"):
            await self._send(send, answer, only=len(answer.body) // 2)
            raise ConnectionCut("the emulator cut the connection in the middle of its answer")
        await self._send(send, answer)

    async def _send(self, send: Send, answer: _Answer, *, only: int | None = None) -> None:
        """Send an answer, or only its first `only` bytes without ending it."""
        headers = [
            (b"date", formatdate(self.now(), usegmt=True).encode()),
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body[:only], "more_body": only is not None})


async def _pause(seconds: float) -> None:
    if seconds:
        await anyio.sleep(seconds)


async def _read(receive: Receive) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        if len(body) <= MAX_BODY:
            body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body) if len(body) <= MAX_BODY else b""


def _content_type(scope: Scope) -> str:
    """The Content-Type of a request; an empty text if it has none."""
    values: list[bytes] = [value for name, value in scope.get("headers", ()) if name == b"content-type"]
    return values[-1].decode("latin-1") if values else ""


def _page(status: int) -> _Answer:
    body = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\r\n"
    return _Answer(status, "text/html", body.encode())
