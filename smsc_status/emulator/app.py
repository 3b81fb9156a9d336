"""The vendor's `status.php`, and everything that may happen to an answer on its way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import datetime
from hashlib import md5
from typing import Any

import anyio
import attrs

from smsc_status.core import codecs
from smsc_status.emulator.clock import EmulatedClock
from smsc_status.emulator.faults import ConnectionCut, Faults
from smsc_status.emulator.limits import Referee
from smsc_status.emulator.query import Query, read_query
from smsc_status.emulator.world import World
from smsc_status.errors import ConfigError
from smsc_status.models import Format, StatusRecord

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
    """The TCP connections of the servers before an emulator; all 0 in process."""

    open: int = 0
    peak: int = 0
    total: int = 0

    def made(self) -> None:
        """One more is open."""
        self.open += 1
        self.total += 1
        self.peak = max(self.peak, self.open)

    def lost(self) -> None:
        """One is closed."""
        self.open -= 1


class Emulator:
    """An ASGI app that answers `/sys/status.php` as the vendor's page says, and its own counts at `/emulator/stats`.

    Args:
        world: the messages it knows; by default none yet.
        seed: of the world made by default.
        speed: emulated seconds in a second: lives, archive and limits all go by the emulated time.
        wall_clock: gives the aware datetime at which the emulated time begins, at its first use; by default the
            system's.
        login: of the one account there is.
        password: of the account; its lower-case MD5 is taken too.
        apikey: of the account, as `apikey` or as `psw` without a login.
        referee: counts the limits, in emulated seconds; by default the vendor's own.
        enforce: whether what the referee objects to is answered with error 9; it counts in any case.
        max_bulk: error 1 for bulk requests of more messages; `None`: there is no such limit.
        faults: `Faults`, or a mapping of their names to probabilities.
        latency: how long each answer takes, in the event loop's seconds, whatever the speed.
        header_charset: the charset that the Content-Type claims, true or not; by default that of the body.
        empty_numbers: whether `fmt=1` prints nothing for a number that is not there; by default 0, as the vendor does.

    Attributes:
        blocked: while true, every answer is error 4.
        errors: how often each error code was answered.
        connections: the TCP connections of the servers before it.
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
        header_charset: str | None = None,
        empty_numbers: bool = False,
    ) -> None:
        if not latency >= 0:
            raise ConfigError(f"latency {latency!r}: expected seconds, at least 0")
        self.world = World(seed) if world is None else world
        self.clock = EmulatedClock(speed, wall_clock)
        self.referee = Referee() if referee is None else referee
        self.faults = faults if isinstance(faults, Faults) else Faults(seed)
        if isinstance(faults, Mapping):
            self.faults.change(**faults)
        self.enforce = enforce
        self.max_bulk = max_bulk
        self.latency = latency
        self.header_charset = header_charset
        self.empty_numbers = empty_numbers
        self.blocked = False
        self.errors: Counter[int] = Counter()
        self.connections = Connections()
        self._login = login
        self._passwords = (password, md5(password.encode(), usedforsecurity=False).hexdigest())
        self._apikey = apikey

    def now(self) -> float:
        """The emulated date, in seconds since 1970."""
        return self.clock.now()

    def elapsed(self) -> float:
        """Emulated seconds since the first use."""
        return self.clock.elapsed()

    def stats(self) -> dict[str, object]:
        """What was seen so far, ready for JSON; the same as `/emulator/stats`."""
        return self.referee.stats() | {
            "errors": {str(code): self.errors[code] for code in ERROR_TEXTS},
            "faults": dict(self.faults.happened),
            "connections": attrs.asdict(self.connections),
            "elapsed": self.elapsed(),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other kinds of ASGI scope are left alone."""
        if scope["type"] != "http":
            return
        if scope["path"] == STATS_PATH:
            await _send(send, _Answer(200, "application/json", json.dumps(self.stats()).encode()))
        elif scope["path"] != STATUS_PATH:
            await _send(send, _page(404))
        elif scope["method"] not in ("GET", "POST"):
            await _send(send, _page(405))
        else:
            form = await _read(receive)
            await self._serve(read_query(scope["query_string"], form), send)

    async def _serve(self, query: Query, send: Send) -> None:
        await _pause(self.faults.wait("late_arrival"))
        refusal = self.referee.arrived(query.ids, query.kind, at=self.elapsed(), is_bulk=query.is_bulk)
        try:
            await _pause(self.latency)
            text = None
            if refusal is not None and self.enforce:
                text = TOO_MANY if refusal is refusal.CONNECTIONS else ERROR_TEXTS[9]
            elif self.faults.happens("spurious_9"):
                text = ERROR_TEXTS[9]
            body = self._body(query, text)
            await _pause(self.faults.wait("delay"))
            await self._deliver(self._damaged(self._answer(query, body)), send)
        finally:
            self.referee.left()

    def _body(self, query: Query, refused: str | None) -> bytes:
        """The answer's body; `refused` is the text of an error 9, if that is what it is to be."""
        code = self._objection(query)
        if code is None and refused is not None:
            code = 9
        if code is None and query.is_deletion:
            code = self._delete(query)
        if code is not None:
            self.errors[code] += 1
            text = refused if code == 9 and refused else ERROR_TEXTS[code]
            return codecs.encode_error(code, text, format=query.format, charset=query.charset)
        if query.is_deletion:
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
        """The error code that a request earns by itself."""
        if self.blocked:
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

    def _delete(self, query: Query) -> int | None:
        now = self.now()
        deleted = [self.world.delete(id, phone, at=now) for id, phone in query.messages]
        return None if all(deleted) else 5

    def _records(self, query: Query) -> list[StatusRecord]:
        now = self.now()
        records = [self.world.record(id, phone, at=now) for id, phone in query.messages]
        self.referee.messages += len(records)
        return self.faults.spoil_records(records) if query.is_bulk else records

    def _answer(self, query: Query, body: bytes) -> _Answer:
        charset = self.header_charset or query.charset
        return _Answer(200, f"{CONTENT_TYPES[query.format]}; charset={charset}", body)

    def _damaged(self, answer: _Answer) -> _Answer:
        """The answer as it goes out: itself, or what stands in its place."""
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
            await _send(send, answer, only=len(answer.body) // 2)
            raise ConnectionCut("the emulator cut the connection in the middle of its answer")
        await _send(send, answer)


async def _pause(seconds: float) -> None:
    if seconds:
        await anyio.sleep(seconds)


async def _read(receive: Receive) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


async def _send(send: Send, answer: _Answer, *, only: int | None = None) -> None:
    """Send an answer, or the first `only` bytes of it and not the end."""
    headers = [(b"content-type", answer.content_type.encode()), (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body[:only], "more_body": only is not None})


def _page(status: int) -> _Answer:
    body = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\r\n"
    return _Answer(status, "text/html", body.encode())
