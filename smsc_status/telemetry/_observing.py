"""`Telemetry`, which users make, and what a client tells it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import update_wrapper
from itertools import islice
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakMethod, WeakSet

from opentelemetry import context as contexts
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanContext, SpanKind, StatusCode, TracerProvider

from smsc_status import _loops
from smsc_status._runtime.observer import StartedRequest
from smsc_status._sharing.tally import LogTally
from smsc_status.errors import ApiError, SmscError, TransportError
from smsc_status.models import FailedCheck, StatusRecord
from smsc_status.telemetry import _table as table
from smsc_status.telemetry._counts import Key
from smsc_status.telemetry._instruments import Instruments
from smsc_status.telemetry._sampling import Sample, Sampled

NAME = "smsc_status"
"""The name of the instrumentation scope."""

MAX_LINKS = 128
"""A request is linked to at most so many spans. That is also the SDK's own limit."""

NO_CONTEXT = Context()
"""Without anybody's span and baggage."""

logger = logging.getLogger("smsc_status")

SelfT = TypeVar("SelfT")
P = ParamSpec("P")

_has_warned: set[str] = set()


def _guarded(method: Callable[Concatenate[SelfT, P], None]) -> Callable[Concatenate[SelfT, P], None]:
    """The method, which raises nothing: a provider or processor that fails must not cost a check its answer."""

    def guarded(self: SelfT, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            if method.__qualname__ not in _has_warned:
                _has_warned.add(method.__qualname__)
                logger.warning("telemetry failed, and what it would have told is lost: %s", type(error).__name__)

    update_wrapper(guarded, method)
    return guarded


class Telemetry:
    """Traces and metrics of clients, for `StatusClient(telemetry=…)`. Several clients may share one.

    Args:
        tracer_provider: makes the spans; by default the global one.
        meter_provider: makes the instruments; by default the global one.

    A global provider that is set later is used from then on.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        from smsc_status import __version__  # noqa: PLC0415 (the package may not be complete yet)

        self._tracer = trace.get_tracer(NAME, __version__, tracer_provider, table.SCHEMA_URL)
        self._meter = metrics.get_meter(NAME, __version__, meter_provider, table.SCHEMA_URL)
        self._instruments = Instruments(self._meter)
        _all.add(self)

    def _observe(
        self, stats: WeakMethod[Callable[[], Sample]], server: tuple[str, int], tally: LogTally | None
    ) -> ClientObserver:
        """An observer of a client, whose event loop runs here. See `Sampled` for the arguments."""
        return ClientObserver(self._tracer, self._instruments, Sampled(stats, server, tally))

    def _reset_after_fork(self) -> None:
        """Count from zero, as a new process does. The open clients are the parent's."""
        self._instruments.begin_anew()


class ClientObserver:
    """Observes one client. See `Observer`."""

    def __init__(self, tracer: trace.Tracer, instruments: Instruments, client: Sampled) -> None:
        self.tracer = tracer
        self.instruments = instruments
        self._client = client
        instruments.clients.add(client)

    def link(self) -> SpanContext | None:
        """See `Observer.link`."""
        return _link(trace.get_current_span())

    def call_started(self, operation: str) -> CallObserver:
        """See `Observer.call_started`."""
        return CallObserver(self, operation)

    def request_started(self, request: StartedRequest) -> RequestObserver:
        """See `Observer.request_started`."""
        return RequestObserver(self, request)

    @_guarded
    def came_out(self, operation: str, outcome: StatusRecord[Any] | FailedCheck[Any]) -> None:
        """See `Observer.came_out`."""
        self.count_outcome(operation, outcome if isinstance(outcome, StatusRecord) else outcome.error)

    def count_outcome(self, operation: str, outcome: StatusRecord[Any] | Exception | None) -> None:
        """A call, a stream or a tracker of this name has an outcome."""
        key = ((table.OPERATION, operation), *_attributes_of(outcome).items())
        self.instruments.counts.add(table.OUTCOMES.name, key)

    @_guarded
    def noticed(self, record: StatusRecord[Any]) -> None:
        """See `Observer.noticed`."""
        if record.changed_at is not None:
            delay = (record.checked_at - record.changed_at).total_seconds()
            self.instruments.detection_delay.record(max(0.0, delay), {table.CHANNEL: record.channel.value}, NO_CONTEXT)

    @_guarded
    def close(self) -> None:
        """See `Observer.close`."""
        self.instruments.leave(self._client)


class CallObserver:
    """Observes one call that waits for one message. See `ObservedCall`."""

    __slots__ = ("_observer", "_operation", "_span", "link")

    def __init__(self, observer: ClientObserver, operation: str) -> None:
        self._observer = observer
        self._operation = operation
        self._span: Span = INVALID_SPAN
        self.link: SpanContext | None = None
        self._start()

    @_guarded
    def _start(self) -> None:
        self._span = self._observer.tracer.start_span(f"smsc.{self._operation}", kind=SpanKind.INTERNAL)
        self.link = _link(self._span)

    @_guarded
    def ended(self, outcome: StatusRecord[Any] | BaseException | None) -> None:
        """See `ObservedCall.ended`."""
        span = self._span
        if isinstance(outcome, Exception) or not isinstance(outcome, BaseException):  # no cancellation
            self._observer.count_outcome(self._operation, outcome)
            if span.is_recording():
                span.set_attributes(_attributes_of(outcome))
                if isinstance(outcome, Exception):
                    span.set_status(StatusCode.ERROR)  # without its text, which may name a phone
        span.end()


class RequestObserver:
    """Observes one request. See `ObservedRequest`. It is also the context manager that its `current` gives."""

    __slots__ = ("_attributes", "_context", "_linked", "_observer", "_request", "_server", "_span", "_token")

    def __init__(self, observer: ClientObserver, request: StartedRequest) -> None:
        self._observer = observer
        self._request = request
        self._span: Span = INVALID_SPAN
        self._context = NO_CONTEXT
        # By the ids of trace and span, because a context may not be hashable.
        self._linked: dict[tuple[int, int], SpanContext] = {}
        self._attributes: dict[str, str | int | float] = {}
        address = request.address
        self._server: Key = (
            (table.HTTP_METHOD, "POST"),
            (table.SERVER_ADDRESS, address.host),
            (table.SERVER_PORT, address.port),
        )
        self._start()

    @_guarded
    def _start(self) -> None:
        instruments, request = self._observer.instruments, self._request
        instruments.counts.add(table.ACTIVE_REQUESTS.name, self._server)
        self._linked = self._new_links()
        self._span = self._observer.tracer.start_span(
            f"POST {request.address.path}",
            NO_CONTEXT,
            SpanKind.CLIENT,
            {
                **dict(self._server),
                table.URL_FULL: request.address.url,
                table.URL_TEMPLATE: request.address.path,
                table.KIND: request.kind,
                table.MESSAGES: request.messages,
                table.WAIT: request.waited,
            },
            [Link(linked) for linked in self._linked.values()],
        )
        if self._span.get_span_context().is_valid:
            self._context = trace.set_span_in_context(self._span, NO_CONTEXT)
        instruments.request_wait.record(request.waited, {table.KIND: request.kind}, self._context)

    def _new_links(self) -> dict[tuple[int, int], SpanContext]:
        """The spans that the request serves and is not linked to yet, as far as there is room for links."""
        links = (link for link in self._request.links() if isinstance(link, SpanContext))
        new = {(link.trace_id, link.span_id): link for link in links}
        left = MAX_LINKS - len(self._linked)
        return dict(islice(((ids, link) for ids, link in new.items() if ids not in self._linked), left))

    def current(self) -> RequestObserver:
        """See `ObservedRequest.current`. The instrumentation of an HTTP client finds this request's span there."""
        return self

    def __enter__(self) -> None:
        self._token = contexts.attach(self._context)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not GeneratorExit:  # otherwise the event loop is gone, and this may run in anybody's context
            contexts.detach(self._token)

    @_guarded
    def replied(self, http_status: int | None, error: SmscError | None, *, seconds: float) -> None:
        """See `ObservedRequest.replied`."""
        if http_status is not None:
            self._attributes[table.HTTP_STATUS] = http_status
        if http_status is not None and http_status >= 400:
            self._attributes[table.ERROR_TYPE] = str(http_status)
        elif error is not None:
            cause = error.__cause__ if isinstance(error, TransportError) else None
            self._attributes[table.ERROR_TYPE] = type(cause or error).__qualname__
        duration = self._observer.instruments.request_duration
        duration.record(seconds, {**dict(self._server), **self._attributes}, self._context)

    @_guarded
    def ended(self, outcome: str, error: SmscError | None) -> None:
        """See `ObservedRequest.ended`."""
        self._count(outcome, error)
        span = self._span
        if span.is_recording():
            for link in self._new_links().values():  # those who have come since it was sent
                span.add_link(link)
            if error is not None:
                self._attributes.setdefault(table.ERROR_TYPE, type(error).__name__)
                span.set_status(StatusCode.ERROR)  # without its text, which may quote the reply
            if isinstance(error, ApiError):
                self._attributes[table.ERROR_CODE] = error.code
            span.set_attributes({**self._attributes, table.OUTCOME: outcome})
        span.end()

    def _count(self, outcome: str, error: SmscError | None) -> None:
        counts = self._observer.instruments.counts
        counts.add(table.ACTIVE_REQUESTS.name, self._server, -1)
        key: Key = (table.KIND, self._request.kind), (table.OUTCOME, outcome)
        if error is not None:
            key += ((table.ERROR_TYPE, type(error).__name__),)
        counts.add(table.REQUESTS.name, key)
        if isinstance(error, ApiError):
            code = str(error.code) if 0 <= error.code < 100 else table.OTHER
            counts.add(table.REFUSALS.name, ((table.ERROR_CODE, code),))


def _link(span: Span) -> SpanContext | None:
    context = span.get_span_context()
    return context if context.is_valid else None


def _attributes_of(outcome: StatusRecord[Any] | Exception | None) -> dict[str, str]:
    if outcome is None:  # a deletion gives nothing
        return {}
    if isinstance(outcome, Exception):
        return {table.ERROR_TYPE: type(outcome).__name__}
    title = outcome.status_title
    return {table.STATUS: title.en if title is not None else table.OTHER, table.CHANNEL: outcome.channel.value}


_all: WeakSet[Telemetry] = WeakSet()


def _reset_after_fork() -> None:
    for telemetry in list(_all):
        telemetry._reset_after_fork()


_loops.at_fork(_reset_after_fork)
