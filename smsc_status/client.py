"""The client, `StatusClient`, which is what users hold.

Modules for the event loop, HTTP and decoding are loaded when a client is made or a method is first called. So importing
this package only for its names (for a type, or a command's help) is fast.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from functools import partial
from inspect import iscoroutinefunction
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, overload
from weakref import WeakMethod, WeakSet

import attrs

from smsc_status._arguments import seconds, whole
from smsc_status._runtime.account import Account, Secret, is_url
from smsc_status._texts import one_line
from smsc_status.errors import ConfigError
from smsc_status.models import MOSCOW, DataT, Detail, Format, Limits, MessageRef, StatusRecord

if TYPE_CHECKING:
    import ssl

    import httpx

    from smsc_status._operations.source import Messages, Refs
    from smsc_status._operations.streaming import OutcomeStream
    from smsc_status._operations.tracker import Tracker, TrackStream
    from smsc_status.limiter import Limiter
    from smsc_status.telemetry import Telemetry

_ENVIRONMENT = {
    "SMSC_APIKEY": "apikey",
    "SMSC_LOGIN": "login",
    "SMSC_PASSWORD": "password",
    "SMSC_BASE_URL": "base_url",
    "SMSC_SHARE": "share",
}


KINDS = "single", "bulk", "delete"
"""The kinds of requests."""


@attrs.frozen(kw_only=True)
class Stats:
    """What a client has done, and what it is doing.

    - `requests`: the requests that were begun, by kind (`single`, `bulk`, `delete`). One that could not connect counts.
    - `request_seconds`: how long the requests that have ended took in total, in seconds, by kind.
    - `wait_seconds`: how long they waited for the limits in total, in seconds, by kind. A request has waited as long as
      its message that waited longest.
    - `records`: the records that were received.
    - `refusals`: the vendor's errors, by code.
    - `retries`: the messages that had to be asked again.
    - `open_requests`: the account's requests in flight, including those of all clients and processes that share it.
    - `waiting`: the distinct messages that wait for a request.
    - `bulk_slot_in`: the seconds until the account's next bulk request may start; 0.0 means now.
    - `shared_by`: what the processes of the account share: `process` means nothing, otherwise where their log is.
      Before the first request it may be the directory or the server that the log is in.
    - `processes`: how many processes have used the account lately, as far as the log tells.
    - `quarantine_in`: the seconds until requests may start again after a log was begun that may lack requests; 0.0
      as a rule.
    - `is_in_outage`: whether the server seems to be out of reach: several requests in a row had no usable answer, and
      now one at a time is sent until one has.

    About `track`:

    - `tracked`: the messages that are followed.
    - `due`: those of them that wait for a check.
    - `overdue`: those that have waited for longer than the time between two bulk requests.
    - `done`: the messages that ended, by outcome (the status' English title, or the error's class).
    - `stalest`: the age of the oldest answer in seconds; for a message without an answer, the time since it was sent.
    """

    requests: Mapping[str, int]
    request_seconds: Mapping[str, float]
    wait_seconds: Mapping[str, float]
    records: int
    refusals: Mapping[int, int]
    retries: int
    open_requests: int
    waiting: int
    bulk_slot_in: float
    shared_by: str
    processes: int
    quarantine_in: float
    is_in_outage: bool
    tracked: int
    due: int
    overdue: int
    done: Mapping[str, int]
    stalest: float


class StatusClient:
    """Asks SMSC for the delivery status of messages, within the vendor's limits.

    Use it with `async with`, or call `aclose` at the end. It belongs to the event loop that first uses it (asyncio or
    trio). All clients of one account keep its limits together: in one process always, and in the processes that `share`
    names. All times are in seconds.

    Args:
        login: the account's login. Give it together with `password`.
        password: the account's password, or its lower-case MD5.
        apikey: the account's API key, instead of `login` and `password`.
        base_url: the server's URL. Change it for a sister installation, or for the emulator.
        mirrors: further URLs of the same server. They are tried in turn when a connection fails or a reply is empty.
        detail: how much to ask, for calls that do not say.
        format: the format of the replies. JSON carries the most, and nothing in it is ambiguous.
        charset: the charset of the replies: `utf-8`, `windows-1251` or `koi8-r`.
        timezone: the time zone of the dates in formats that have no timestamps.
        limits: the limits to keep; by default the vendor's.
        share: who keeps the limits together: `"process"` (this process), `"machine"` (all processes of this user on
            this machine), a path with a `/` (all who can write there), or the URL of a Redis or Valkey server (all who
            can reach it), such as `redis://host`. The default is the machine. But for a server on the loopback, or
            behind a `transport`, it is this process, because such a server is probably an emulator.
        limiter: a limiter of your own, or one that you share on purpose. It brings its own limits.
        timeout: the longest time for each request as a whole. It counts from the limiter's permit: if the process was
            stopped in between and the time is over, the request is not sent.
        retries: how often a message is asked again after a failed connection, a time-out, an empty reply, or an HTTP
            status that says "later". Refusals because of the limits are waited out and do not count.
        transport: any `httpx.AsyncBaseTransport` that sends a request at most once. A client with a transport has a
            limiter of its own, so two of them do not keep one account's limits together: then give both one `limiter`.
            If it ignores httpcore's `trace`, the client checks only before it calls the transport whether `timeout` is
            over.
        proxy: the URL of a proxy, instead of what `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
            `socks5://` needs the package socksio (`pip install 'httpx[socks]'`).
        verify: whose certificates to trust: an `ssl.SSLContext`, or `True`. `True` means the system's certificate
            authorities and those of the package certifi, or only what `SSL_CERT_FILE` or `SSL_CERT_DIR` names, if set.
        allow_http: whether to allow URLs without TLS for hosts other than the loopback.
        wall_clock: returns the present date as an aware datetime; by default the system's.
        telemetry: whether to make traces and metrics by OpenTelemetry. By default they are made if the program has set
            a global provider when the client is first used in an event loop. `True` makes them by the global providers,
            also by those that are set later; a `Telemetry` makes them by its own. `False` makes none.

    Raises:
        ConfigError: a value that can't be used; two kinds of credentials, or none; other limits than those that
            another client of the same account has.
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
        share: str | os.PathLike[str] | Secret | None = None,
        limiter: Limiter | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
        proxy: str | Secret | None = None,
        verify: ssl.SSLContext | bool = True,
        allow_http: bool = False,
        wall_clock: Callable[[], datetime] | None = None,
        telemetry: Telemetry | bool | None = None,
    ) -> None:
        from smsc_status._core.wire.protocol import Wire  # noqa: PLC0415 (see the module's docstring)
        from smsc_status._observed import check_telemetry, find_observer  # noqa: PLC0415 (likewise)
        from smsc_status._runtime.engine import Engine  # noqa: PLC0415 (likewise)
        from smsc_status._runtime.http import HttpExchange  # noqa: PLC0415 (likewise)
        from smsc_status._runtime.sharing import limiter_for  # noqa: PLC0415 (likewise)

        # First of all, so that the locals of a traceback show no secret.
        login, password = _hidden(login), _hidden(password)
        apikey, proxy = _hidden(apikey), _hidden(proxy)
        if is_url(share):
            share = _hidden(share)
        account = Account.of(
            login=login,
            password=password,
            apikey=apikey,
            base_url=base_url,
            mirrors=mirrors,
            allow_http=allow_http,
        )
        self._url = account.urls[0]
        self._detail: Detail = _member(Detail, detail, "detail")
        wire = Wire(_member(Format, format, "format"), _charset(charset))
        timeout = seconds(timeout, "timeout", positive=True)
        retries = whole(retries, "retries", at_least=0)
        if not isinstance(timezone, tzinfo):
            raise ConfigError(f"timezone {timezone!r}: expected a tzinfo")
        if wall_clock is not None and (not callable(wall_clock) or _is_async(wall_clock)):
            raise ConfigError(
                f"wall_clock {wall_clock!r}: expected a function that returns an aware datetime, not async"
            )
        if limiter is None:
            limiter = limiter_for(account, _limits(limits), share, has_transport=transport is not None)
        elif share is not None:
            raise ConfigError("share beside limiter: expected only one, as a limiter is shared by whoever holds it")
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
        # The event loop in which it is being closed or was closed, and what tells that this is over.
        self._closing: tuple[object, Any] | None = None
        self._engine = Engine(
            make_exchange,
            limiter=limiter,
            wire=wire,
            retries=retries,
            zone=timezone,
            wall_clock=wall_clock,
            find_observer=partial(find_observer, check_telemetry(telemetry), WeakMethod(self.stats), limiter),
        )

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """A client of the account that the environment names.

        Reads `SMSC_APIKEY`, or `SMSC_LOGIN` and `SMSC_PASSWORD`, `SMSC_BASE_URL` and `SMSC_SHARE`. A variable that is
        empty counts as not set. `overrides` are arguments of the constructor, and are used instead of the variables.

        Raises:
            ConfigError: as from the constructor.
        """
        overrides = hidden(overrides)
        explicit = _SECRETS & {name for name, value in overrides.items() if value is not None}
        for variable, name in _ENVIRONMENT.items():
            if name in overrides or (explicit and name in _SECRETS) or (name == "share" and "limiter" in overrides):
                continue
            if os.environ.get(variable):
                # Not by a variable of its own, which the locals of a traceback would show.
                is_secret = name in _SECRETS or (name == "share" and is_url(os.environ[variable]))
                overrides[name] = _hidden(os.environ[variable]) if is_secret else os.environ[variable]
        return cls(**overrides)

    @property
    def detail(self) -> Detail:
        """How much is asked by calls that do not say."""
        return self._detail

    @overload
    async def check(
        self,
        id: int | str,
        phone: str,
        *,
        detail: Detail | None = None,
        max_wait: float | None = None,
        max_age: float = 0.0,
        timeout: float | None = None,
    ) -> StatusRecord: ...

    @overload
    async def check(
        self,
        ref: MessageRef[DataT],
        /,
        *,
        detail: Detail | None = None,
        max_wait: float | None = None,
        max_age: float = 0.0,
        timeout: float | None = None,
    ) -> StatusRecord[DataT]: ...

    async def check(
        self,
        id: int | str | MessageRef[Any],
        phone: str | None = None,
        *,
        detail: Detail | None = None,
        max_wait: float | None = None,
        max_age: float = 0.0,
        timeout: float | None = None,
    ) -> StatusRecord[Any]:
        """The present status of one message.

        Calls that are made together may share a bulk request, and calls for the same message share one check.

        Args:
            id: the message's id; or a `MessageRef`, without `phone`, which the record then has as its `ref`.
            phone: the phone or e-mail address that it was sent to.
            detail: how much to ask; `None` means the client's own level.
            max_wait: if the request can't start within this many seconds, raise as soon as that is known.
            max_age: accept a record that came in at most this many seconds ago, at this level of detail or above.
            timeout: the longest time for this call as a whole. A request in flight goes on, for others who wait for it.

        Raises:
            ConfigError: bad arguments, or the client is closed.
            LimitExceeded: the request can't start within `max_wait`; `retry_after` says when it may. If the vendor has
                refused meanwhile, it is a `RateLimited`, a subclass.
            RequestTimeout: no answer within `timeout`, or none to any of the attempts. If an attempt failed before, its
                error is the `__cause__`, and the HTTP status is that error's.
            TransportError, ProtocolError, ApiError: no answer, one that can't be read, or a refusal. The first two have
                `http_status` and `retry_after`, if these are known.
        """
        from smsc_status._operations.checking import check  # noqa: PLC0415 (see the module's docstring)

        ref = _ref(id, phone)
        level = self._detail if detail is None else _member(Detail, detail, "detail")
        max_age = seconds(max_age, "max_age")
        wait = inf if max_wait is None else seconds(max_wait, "max_wait")
        longest = None if timeout is None else seconds(timeout, "timeout")
        return await check(self._engine, ref, level, max_wait=wait, max_age=max_age, timeout=longest)

    @overload
    def stream(self, messages: Refs[DataT], *, detail: Detail | None = None) -> OutcomeStream[DataT]: ...

    @overload
    def stream(self, messages: Messages[DataT], *, detail: Detail | None = None) -> OutcomeStream[DataT | None]: ...

    def stream(self, messages: Messages[Any], *, detail: Detail | None = None) -> OutcomeStream[Any]:
        """Check each message once. The outcomes come in the order of the answers.

        The input is any iterable or async iterable of `MessageRef`s or `(id, phone)` tuples. It is read lazily: it may
        be endless, and a slow consumer slows down the reading. A message that can't be checked comes out as a
        `FailedCheck`. A message that is put in twice comes out twice. It is asked only once if its request is still
        in flight, or was answered within the last second: a record that is given again is never older than that.

        Raises, while iterated over:
            AuthError, AddressBlocked: the account is refused. The error's `pending` lists the unanswered messages.
            ConfigError: the client is closed.
            Exception: an error of the input, after the outcomes of all that was read before it.
        """
        level = self._detail if detail is None else _member(Detail, detail, "detail")
        check_messages(messages)
        from smsc_status._operations.streaming import OutcomeStream  # noqa: PLC0415 (see the module's docstring)

        return OutcomeStream(self._engine, messages, level)

    @overload
    def track(
        self,
        messages: Refs[DataT],
        *,
        until: Callable[[StatusRecord[DataT]], bool] | None = None,
        detail: Detail | None = None,
        eagerness: float = 0.5,
        look_ahead: int | None = 100_000,
        expire_after: float = 172_800.0,
        speed: float = 1.0,
    ) -> TrackStream[DataT]: ...

    @overload
    def track(
        self,
        messages: Messages[DataT],
        *,
        until: Callable[[StatusRecord[DataT | None]], bool] | None = None,
        detail: Detail | None = None,
        eagerness: float = 0.5,
        look_ahead: int | None = 100_000,
        expire_after: float = 172_800.0,
        speed: float = 1.0,
    ) -> TrackStream[DataT | None]: ...

    def track(
        self,
        messages: Messages[Any],
        *,
        until: Callable[[StatusRecord[Any]], bool] | None = None,
        detail: Detail | None = None,
        eagerness: float = 0.5,
        look_ahead: int | None = 100_000,
        expire_after: float = 172_800.0,
        speed: float = 1.0,
    ) -> TrackStream[Any]:
        """Follow messages to their end: gives the first record of each, then every change of its status or error.

        It ends when the input has ended and every message is done: final, archived, expired, or failed. Requests
        without a reply and refusals because of the limits are waited out. A message comes out as a `FailedCheck` if it
        can't be checked for another reason, if the vendor archived it first (`Archived`), or if it has not ended within
        `expire_after` seconds (`TrackingTimeout`). A message without `sent_at` is asked at `Detail.FULL` until a reply
        says when it was sent.

        A message whose ref says what was `seen` of it is followed on from there: its first record comes out only if it
        differs from that in status or error. Its last record comes out in any case, because it ends the message.

        Args:
            messages: as for `stream`. A message that was sent some time ago is asked at once. One without `sent_at`
                counts as sent just now, and is asked after some seconds.
            until: takes a record and returns whether its message is done. It is used instead of `is_final`, so if it
                waits for "read", it should also return true for the statuses after which nothing more comes.
            detail: how much to ask; `None` means the client's own level.
            eagerness: the share of the connections, 0 to 1, that single checks may use beside the bulk requests. A half
                leaves the rest to the account's other work. With 0 only bulk requests are sent.
            look_ahead: how many messages are read and followed at once; `None` means the whole input.
            expire_after: a message is given up this many seconds after it was sent.
            speed: how many times as fast as real time the server's time passes; more than 1 only for an emulator.

        Raises, while iterated over:
            AuthError, AddressBlocked: the account is refused. The error's `pending` lists the messages not done.
            ClientClosed: the client was closed. The error has `pending`, too.
            Exception: an error of the input, after all that was read is done; an error of `until`, at once.
        """
        level = self._detail if detail is None else _member(Detail, detail, "detail")
        check_messages(messages)
        if seconds(eagerness, "eagerness") > 1:
            raise ConfigError(f"eagerness {eagerness!r}: expected a number from 0 to 1")
        if until is not None and (not callable(until) or _is_async(until)):
            raise ConfigError(f"until {until!r}: expected a function that returns a bool, and not an async one")
        speed = seconds(speed, "speed", positive=True)
        if look_ahead is not None:
            look_ahead = whole(look_ahead, "look_ahead", at_least=1, or_none=True)
        from smsc_status._core.tracking.tracked import Policy  # noqa: PLC0415 (see the module's docstring)
        from smsc_status._operations.tracker import Tracker, TrackStream  # noqa: PLC0415 (likewise)

        policy = Policy(eagerness=eagerness, expire_after=seconds(expire_after, "expire_after", positive=True))
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

    @overload
    async def delete(self, id: int | str, phone: str) -> None: ...

    @overload
    async def delete(self, ref: MessageRef[Any], /) -> None: ...

    async def delete(self, id: int | str | MessageRef[Any], phone: str | None = None) -> None:
        """Delete a message that was sent. For the limits this counts as a check of its id.

        Args:
            id: the message's id; or a `MessageRef`, without `phone`.
            phone: the phone or e-mail address that it was sent to.

        Raises:
            ConfigError: bad arguments, or the client is closed.
            DeleteError: the vendor can't delete it.
            RateLimited, ApiError: the vendor refused for another reason.
            TransportError, ProtocolError: no answer, or one that can't be read. The message may be deleted all the
                same, because a deletion is tried again only if the request was surely not sent.
        """
        from smsc_status._operations.deletion import Deletion  # noqa: PLC0415 (see the module's docstring)

        ref = _ref(id, phone)
        await self._engine.bind()
        error = await Deletion(self._engine, ref).carry_out()
        if error is not None:
            error.pending = (ref,)
            raise error

    def stats(self) -> Stats:
        """What the client has done and is doing, at this moment."""
        from smsc_status import _loops  # noqa: PLC0415 (see the module's docstring)

        engine = self._engine
        slots, tally = engine.slots(), engine.tally
        trackers = [tracker for tracker in self._trackers if not tracker.is_over]
        busy = [tracker for tracker in trackers if tracker.loop is None or not _loops.has_ended(tracker.loop)]
        due = [tracker.due() for tracker in busy]
        return Stats(
            requests=MappingProxyType(dict.fromkeys(KINDS, 0) | tally.requests),
            request_seconds=MappingProxyType(dict.fromkeys(KINDS, 0.0) | dict(tally.request_seconds)),
            wait_seconds=MappingProxyType(dict.fromkeys(KINDS, 0.0) | dict(tally.wait_seconds)),
            records=tally.records,
            refusals=MappingProxyType(dict(tally.refusals)),
            retries=tally.retries,
            open_requests=slots.open_requests,
            waiting=engine.waiting,
            bulk_slot_in=slots.bulk_slot_in,
            shared_by=slots.shared_by,
            processes=slots.processes,
            quarantine_in=slots.quarantine_in,
            is_in_outage=engine.is_in_outage,
            tracked=sum(tracker.tracked for tracker in busy),
            due=sum(waiting for waiting, _ in due),
            overdue=sum(overdue for _, overdue in due),
            done=MappingProxyType(dict(tally.done)),
            stalest=max((tracker.stalest() for tracker in busy), default=0.0),
        )

    async def aclose(self) -> None:
        """Close the client: abandon requests in flight, fail what waits with `ClientClosed`, and close the sockets.

        It may be called from any task, and more than once: a further call waits until the first one is over. If the
        processes share a log that can't be reached, closing takes a few seconds longer.
        """
        import anyio  # noqa: PLC0415 (see the module's docstring)

        from smsc_status import _loops  # noqa: PLC0415 (likewise)

        loop = _loops.this_loop()
        if self._closing is not None and self._closing[0] is loop:
            await self._closing[1].wait()
            return
        is_over = anyio.Event()
        self._closing = loop, is_over
        try:
            await self._engine.aclose()
            await self._engine.leave_limiter()
        finally:
            is_over.set()

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


def hidden(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `StatusClient` whose secrets the locals of a traceback do not show."""
    return {
        name: _hidden(v) if name in _SECRETS or (name == "share" and is_url(v)) else v for name, v in options.items()
    }


def _ref(id: int | str | MessageRef[Any], phone: str | None) -> MessageRef[Any]:
    """The ref itself, or one of these two."""
    if not isinstance(id, MessageRef):
        return MessageRef(id, phone)  # it refuses None
    if phone is not None:
        raise ConfigError(f"phone {one_line(repr(phone), 80)} beside a MessageRef: expected only the ref")
    return id


def _limits(limits: Limits | None) -> Limits:
    if limits is not None and not isinstance(limits, Limits):
        raise ConfigError(f"limits {limits!r}: expected a Limits")
    return limits or Limits()


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


def check_messages(messages: object) -> None:
    """Raise `ConfigError` if this is not an iterable of messages."""
    is_many = hasattr(messages, "__aiter__") or hasattr(messages, "__iter__")
    if not is_many or isinstance(messages, str | bytes | bytearray | memoryview | Mapping):
        kind = type(messages).__name__
        raise ConfigError(f"messages: expected an iterable or async iterable of messages, got a {kind}")
    if isinstance(messages, tuple | list) and len(messages) in (2, 3) and isinstance(messages[0], int | str):
        shown = one_line(repr(messages), 80)
        raise ConfigError(f"messages {shown}: expected an iterable of messages; one alone is [(id, phone)]")


def _tell_longest_request(limiter: Limiter, timeout: float) -> None:
    known = getattr(limiter, "longest_request", None)
    if known is not None:  # one of this library's
        limiter.longest_request = max(known, timeout)  # type: ignore[attr-defined] # looked up just now


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
