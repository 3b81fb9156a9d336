"""The client: what users hold.

What it works with is loaded when a client is made, and when its methods are first used: whoever imports this package
for its names, be it for a type or a command's help, waits for no event loop, no HTTP client and no decoder.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from functools import partial
from inspect import iscoroutinefunction
from math import inf, isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

import attrs

from smsc_status._runtime.account import Account, Secret
from smsc_status._texts import one_line
from smsc_status.errors import ConfigError
from smsc_status.models import MOSCOW, Detail, Format, Limits, MessageRef, StatusRecord

if TYPE_CHECKING:
    import ssl

    import httpx

    from smsc_status._operations.source import Messages
    from smsc_status._operations.streaming import OutcomeStream
    from smsc_status._operations.tracker import Tracker, TrackStream
    from smsc_status.limiter import Limiter

_ENVIRONMENT = {
    "SMSC_APIKEY": "apikey",
    "SMSC_LOGIN": "login",
    "SMSC_PASSWORD": "password",
    "SMSC_BASE_URL": "base_url",
}


@attrs.frozen(kw_only=True)
class Stats:
    """What a client has done, and what it is doing.

    `requests` counts what was sent by kind (`single`, `bulk`, `delete`), `refusals` the vendor's errors by code,
    `retries` the messages that had to be asked again. `waiting` is the number of distinct messages that wait for a
    request, `open_requests` and `bulk_slot_in` (seconds until the next bulk request may start; 0.0: now) are the
    account's, other clients in this process included.

    Of `track`: `tracked` messages are followed, `due` of them wait for a check, `overdue` have for longer than a bulk
    request's turn; `done` counts those that ended by outcome (the status' English title, or the error's class);
    `stalest` is the age of the oldest answer in seconds, of what has no answer yet the time since it was sent.
    """

    requests: Mapping[str, int]
    records: int
    refusals: Mapping[int, int]
    retries: int
    open_requests: int
    waiting: int
    bulk_slot_in: float
    tracked: int
    due: int
    overdue: int
    done: Mapping[str, int]
    stalest: float


class StatusClient:
    """Asks SMSC for the delivery status of messages, within the vendor's limits.

    Use it with `async with`, or call `aclose` at the end. It belongs to the event loop that first uses it (asyncio or
    trio); all clients of one account in a process share one limiter, in whichever loop. All times are in seconds.

    Args:
        login: the account's login; goes with `password`.
        password: its password, or the lower-case MD5 of it.
        apikey: the account's API key, instead of both.
        base_url: the server: of a sister installation, of the emulator.
        mirrors: further URLs of the same server, tried in turn when a connection fails or a reply is empty.
        detail: how much is asked, where a call does not say.
        format: the form of the answers. JSON carries most, and nothing in it is ambiguous.
        charset: of the answers: `utf-8`, `windows-1251` or `koi8-r`.
        timezone: in which text dates are read where a format has no timestamps.
        limits: what is kept.
        limiter: one of your own, or shared on purpose; it brings its own limits.
        timeout: bounds each request as a whole.
        retries: how often a message is asked again after a failed connection, a time-out, an empty reply, or an HTTP
            status that says "later". Refusals of the limits are waited for, and not counted.
        transport: any `httpx.AsyncBaseTransport` that sends a request at most once. Its client has a limiter of its
            own, unless `limiter` is given: without one, two such clients do not keep an account's limits together.
        proxy: the URL of a proxy, in place of what `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
            `socks5://` needs the package socksio (`pip install 'httpx[socks]'`).
        verify: whose certificates to trust: an `ssl.SSLContext`, or `True` for the system's certificate authorities and
            those of the package certifi, or only what `SSL_CERT_FILE` or `SSL_CERT_DIR` names.
        allow_http: whether URLs without TLS are allowed for more than the loopback.
        wall_clock: gives the present aware datetime; by default the system's.

    Raises:
        ConfigError: a value that can't be used, two kinds of credentials, none; the same account with other limits.
    """

    def __init__(
        self,
        *,
        login: str | Secret | None = None,
        password: str | Secret | None = None,
        apikey: str | Secret | None = None,
        base_url: str = "https://smsc.ru",
        mirrors: Sequence[str] = (),
        detail: Detail = Detail.BASIC,
        format: Format = Format.JSON,
        charset: str = "utf-8",
        timezone: tzinfo = MOSCOW,
        limits: Limits | None = None,
        limiter: Limiter | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
        proxy: str | Secret | None = None,
        verify: ssl.SSLContext | bool = True,
        allow_http: bool = False,
        wall_clock: Callable[[], datetime] | None = None,
    ) -> None:
        from smsc_status._core.wire.protocol import Wire  # noqa: PLC0415 (see the module's docstring)
        from smsc_status._runtime.engine import Engine  # noqa: PLC0415 (likewise)
        from smsc_status._runtime.http import HttpExchange  # noqa: PLC0415 (likewise)

        # From here on a traceback's locals show no secret.
        login, password = _hidden(login), _hidden(password)
        apikey, proxy = _hidden(apikey), _hidden(proxy)
        account = Account.of(
            login=login,
            password=password,
            apikey=apikey,
            base_url=base_url,
            mirrors=mirrors,
            allow_http=allow_http,
        )
        self._url = account.urls[0]
        self._detail = _member(Detail, detail, "detail")
        wire = Wire(_member(Format, format, "format"), _charset(charset))
        timeout = _seconds(timeout, "timeout", positive=True)
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise ConfigError(f"retries {retries!r}: expected a whole number, at least 0")
        if not isinstance(timezone, tzinfo):
            raise ConfigError(f"timezone {timezone!r}: expected a tzinfo")
        if limiter is None:
            limiter = _limiter(account, _limits(limits), own=transport is not None)
        else:
            _check_limiter(limiter)
        _tell_longest_request(limiter, timeout)
        make_exchange = partial(
            HttpExchange,
            account,
            timeout=timeout,
            connections=limiter.limits.connections,
            transport=transport,
            proxy=proxy,
            verify=verify,
        )
        self._trackers: WeakSet[Tracker] = WeakSet()
        self._engine = Engine(
            make_exchange, limiter=limiter, wire=wire, retries=retries, zone=timezone, wall_clock=wall_clock
        )

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """A client of the account that the environment names.

        Reads `SMSC_APIKEY`, or `SMSC_LOGIN` and `SMSC_PASSWORD`, and `SMSC_BASE_URL`; `overrides` are the constructor's
        arguments and go before them.

        Raises:
            ConfigError: as the constructor; a variable that is empty counts as not set.
        """
        overrides = {name: _hidden(v) if name in _SECRETS else v for name, v in overrides.items()}
        explicit = _SECRETS & {name for name, value in overrides.items() if value is not None}
        for variable, name in _ENVIRONMENT.items():
            if name in overrides or (explicit and name in _SECRETS):
                continue
            if os.environ.get(variable):
                overrides[name] = _hidden(os.environ[variable]) if name in _SECRETS else os.environ[variable]
        return cls(**overrides)

    async def check(
        self,
        id: int | str,
        phone: str,
        *,
        detail: Detail | None = None,
        max_wait: float | None = None,
        max_age: float = 0.0,
        timeout: float | None = None,
    ) -> StatusRecord:
        """The present status of one message.

        Calls made together go out together; calls for the same message share a request.

        Args:
            id: the message's id.
            phone: its addressee.
            detail: how much to ask; the client's own if `None`.
            max_wait: if its request can't start within this many seconds, raise as soon as that is known.
            max_age: a record that came in at most this many seconds ago will do, at this level of detail or above.
            timeout: bounds this call as a whole; a request on its way stays so, for the others who wait for it.

        Raises:
            ConfigError: bad arguments, or the client is closed.
            LimitExceeded: no slot within `max_wait`; `retry_after` says when there may be one. (As RateLimited, which
                is one too: the vendor has refused meanwhile.)
            RequestTimeout: no answer within `timeout`, or none to any of the attempts.
            TransportError, ProtocolError, ApiError: no answer, an unreadable one, a refusal; the first two with
                `http_status` and `retry_after`, where they are known.
        """
        from smsc_status._operations.checking import check  # noqa: PLC0415 (see the module's docstring)

        ref = MessageRef(id, phone)
        level = self._detail if detail is None else _member(Detail, detail, "detail")
        max_age = _seconds(max_age, "max_age")
        patience = inf if max_wait is None else _seconds(max_wait, "max_wait")
        longest = None if timeout is None else _seconds(timeout, "timeout")
        return await check(self._engine, ref, level, max_wait=patience, max_age=max_age, timeout=longest)

    def stream(self, messages: Messages, *, detail: Detail | None = None) -> OutcomeStream:
        """Check each message once; the outcomes come as the answers do.

        The input is any iterable or async iterable of `MessageRef`s or `(id, phone)` tuples, read lazily; an endless
        one works, and a slow consumer slows it down. What can't be checked comes out as a `FailedCheck`. A message that
        is put in twice comes out twice. It is asked once if the request for it is still on its way, or was answered
        within the last second: a record that is given again is never older than that.

        Raises, while iterated over:
            AuthError, AddressBlocked: the account is refused; `pending` on the error has what was not answered.
            ConfigError: the client is closed.
            Exception: the input's own, after all that was read has come out.
        """
        level = self._detail if detail is None else _member(Detail, detail, "detail")
        _check_messages(messages)
        from smsc_status._operations.streaming import OutcomeStream  # noqa: PLC0415 (see the module's docstring)

        return OutcomeStream(self._engine, messages, level)

    def track(
        self,
        messages: Messages,
        *,
        until: Callable[[StatusRecord], bool] | None = None,
        detail: Detail | None = None,
        eagerness: float = 0.5,
        look_ahead: int | None = 100_000,
        expire_after: float = 172_800.0,
        speed: float = 1.0,
    ) -> TrackStream:
        """Follow messages to their end: the first record of each comes out, and every change of status or error.

        It ends when the input has ended and every message is done: final, archived, expired, or failed. NoReply requests
        and refusals of the limits are waited out; a message that can't be checked for another reason comes out as a
        `FailedCheck`, as does one that the vendor moved to its archive first (`Archived`), or that was followed for
        long enough (`TrackingTimeout`). A message without `sent_at` is asked at `Detail.FULL` until a reply tells it.

        Args:
            messages: as for `stream`; messages that were not sent just now are asked at once.
            until: says of a record whether its message is done, in place of `is_final`. It decides alone: one that
                waits for "read" should also take the statuses after which nothing comes.
            detail: how much to ask; the client's own if `None`.
            eagerness: 0 to 1, the share of the connections that single checks may take up beside the bulk requests.
                Half leaves the rest to the account's other work; 0 leaves all checks to the bulk requests.
            look_ahead: how many messages are read and followed at once; `None`: all that the input gives.
            expire_after: seconds since sending after which a message is given up.
            speed: how many times as fast as ours the server's time passes; more than 1 only for an emulator.

        Raises, while iterated over:
            AuthError, AddressBlocked: the account is refused; `pending` on the error has what is not done.
            ClientClosed: the client was closed; `pending` likewise.
            Exception: the input's own, after all that was read is done; `until`'s own, at once.
        """
        level = self._detail if detail is None else _member(Detail, detail, "detail")
        _check_messages(messages)
        if _seconds(eagerness, "eagerness") > 1:
            raise ConfigError(f"eagerness {eagerness!r}: expected a number from 0 to 1")
        if until is not None and (not callable(until) or _is_async(until)):
            raise ConfigError(f"until {until!r}: expected a function that returns a bool, and not an async one")
        speed = _seconds(speed, "speed", positive=True)
        if look_ahead is not None and (
            isinstance(look_ahead, bool) or not isinstance(look_ahead, int) or look_ahead < 1
        ):
            raise ConfigError(f"look_ahead {look_ahead!r}: expected a whole number, at least 1, or None")
        from smsc_status._core.tracking.polling import Policy  # noqa: PLC0415 (see the module's docstring)
        from smsc_status._operations.tracker import Tracker, TrackStream  # noqa: PLC0415 (likewise)

        policy = Policy(eagerness=eagerness, expire_after=_seconds(expire_after, "expire_after", positive=True))
        tracker = Tracker(
            self._engine,
            messages,
            detail=level,
            until=until,
            policy=policy,
            look_ahead=look_ahead,
            speed=speed,
        )
        self._trackers.add(tracker)
        return TrackStream(tracker)

    async def delete(self, id: int | str, phone: str) -> None:
        """Delete a message that was sent. It counts as a check of its id.

        Raises:
            ConfigError: bad arguments, or the client is closed.
            DeleteError: the vendor can't delete it.
            RateLimited, ApiError: the vendor refused for another reason.
            TransportError, ProtocolError: no answer, or an unreadable one. It is tried again only if the request surely
                never left, so that the message may be deleted all the same.
        """
        from smsc_status._operations.deletion import Deletion  # noqa: PLC0415 (see the module's docstring)

        ref = MessageRef(id, phone)
        await self._engine.bind()
        error = await Deletion(self._engine, ref).carry_out()
        if error is not None:
            error.pending = (ref,)
            raise error

    def stats(self) -> Stats:
        """A snapshot of what the client has done and is doing."""
        from smsc_status import _loops  # noqa: PLC0415 (see the module's docstring)

        engine = self._engine
        slots, tally = engine.limiter.slots(), engine.pending.tally
        trackers = [tracker for tracker in self._trackers if not tracker.is_over]
        busy = [tracker for tracker in trackers if tracker.loop is None or not _loops.has_ended(tracker.loop)]
        due = [tracker.due() for tracker in busy]
        return Stats(
            requests=MappingProxyType({"single": 0, "bulk": 0, "delete": 0} | tally.requests),
            records=tally.records,
            refusals=MappingProxyType(dict(tally.refusals)),
            retries=tally.retries,
            open_requests=slots.open_requests,
            waiting=engine.pending.waiting,
            bulk_slot_in=slots.bulk_slot_in,
            tracked=sum(tracker.tracked for tracker in busy),
            due=sum(waiting for waiting, _ in due),
            overdue=sum(overdue for _, overdue in due),
            done=MappingProxyType(dict(tally.done)),
            stalest=max((tracker.stalest() for tracker in busy), default=0.0),
        )

    async def aclose(self) -> None:
        """Close it: requests on their way are given up, what waits fails with `ClientClosed`, the sockets are closed.

        It can be called from any task, more than once.
        """
        await self._engine.aclose()

    async def __aenter__(self) -> Self:
        await self._engine.bind()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        engine = getattr(self, "_engine", None)  # absent where the constructor raised
        state = "not made" if engine is None else f"of {self._url}{', closed' if engine.closed else ''}"
        return f"<StatusClient {state}>"


_SECRETS = {"login", "password", "apikey", "proxy"}


def _hidden(text: str | Secret | None) -> Secret | None:
    return None if text is None else Secret(text)


def _limits(limits: Limits | None) -> Limits:
    if limits is not None and not isinstance(limits, Limits):
        raise ConfigError(f"limits {limits!r}: expected a Limits")
    return limits or Limits()


def _limiter(account: Account, limits: Limits, *, own: bool) -> Limiter:
    from smsc_status.limiter import LocalLimiter, shared  # noqa: PLC0415 (see the module's docstring)

    return LocalLimiter(limits) if own else shared(account.name, limits)


def _check_limiter(limiter: object) -> None:
    from smsc_status.limiter import Limiter  # noqa: PLC0415 (see the module's docstring)

    methods = [name for name in vars(Limiter) if not name.startswith("_")]
    missing = [name for name in methods if not callable(getattr(limiter, name, None))]
    if not isinstance(getattr(limiter, "limits", None), Limits):
        missing.append("limits")
    if missing or isinstance(limiter, type):
        what = one_line(repr(limiter), 80)
        lacks = f", which lacks {', '.join(missing)}" if missing else ", which is a class"
        raise ConfigError(f"limiter {what}: expected an object with the methods of Limiter{lacks}")


def _check_messages(messages: object) -> None:
    is_many = hasattr(messages, "__aiter__") or hasattr(messages, "__iter__")
    if not is_many or isinstance(messages, str | bytes | bytearray | memoryview | Mapping):
        kind = type(messages).__name__
        raise ConfigError(f"messages: expected an iterable or async iterable of messages, got a {kind}")
    if isinstance(messages, tuple | list) and len(messages) in (2, 3) and isinstance(messages[0], int | str):
        shown = one_line(repr(messages), 80)
        raise ConfigError(f"messages {shown}: expected an iterable of messages; one alone is [(id, phone)]")


def _tell_longest_request(limiter: Limiter, timeout: float) -> None:
    from smsc_status.limiter import LocalLimiter  # noqa: PLC0415 (see the module's docstring)

    if isinstance(limiter, LocalLimiter):
        limiter.longest_request = max(limiter.longest_request, timeout)


def _member(kind: Any, value: object, name: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(f"{name} {value!r}: expected one of {', '.join(map(str, kind))}") from None


def _charset(charset: str) -> str:
    from smsc_status._core.wire.codecs import CHARSETS  # noqa: PLC0415 (see the module's docstring)

    try:
        canonical = codecs.lookup(charset).name
    except (LookupError, TypeError):
        canonical = ""
    for known in CHARSETS:
        if codecs.lookup(known).name == canonical:
            return known
    raise ConfigError(f"charset {charset!r}: expected one of {', '.join(CHARSETS)}")


def _is_async(function: Callable[..., object]) -> bool:
    called = getattr(function, "__call__", None)  # noqa: B004 (the method itself is looked at)
    return iscoroutinefunction(function) or iscoroutinefunction(called)


def _seconds(value: float, name: str, *, positive: bool = False) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not good or value < 0 or (positive and value == 0):
        raise ConfigError(f"{name} {value!r}: expected seconds, {'more than' if positive else 'at least'} 0")
    return float(value)
