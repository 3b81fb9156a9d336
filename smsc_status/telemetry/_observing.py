"""What is told of one client: its calls and its requests, as spans and as numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanContext, SpanKind, StatusCode, Tracer

from smsc_status import codes
from smsc_status._runtime.http import Address
from smsc_status._runtime.observer import StartedRequest
from smsc_status.errors import ApiError, SmscError, TransportError
from smsc_status.models import FailedCheck, StatusRecord
from smsc_status.telemetry import _table as table
from smsc_status.telemetry._counts import Attributes
from smsc_status.telemetry._guard import guarded
from smsc_status.telemetry._instruments import Instruments
from smsc_status.telemetry._sampling import Sampled

MAX_LINKS = 128
"""A request is linked to at most this many spans. That is also the SDK's own limit."""

NO_CONTEXT = Context()
"""Without anybody's span and baggage."""

KNOWN_CODES = range(100)
"""The vendor's error codes are among these. Another one could be any number."""


class ClientObserver:
    """Observes one client. See `Observer`."""

    def __init__(self, tracer: Tracer, instruments: Instruments, client: Sampled) -> None:
        self.tracer = tracer
        self.instruments = instruments
        self.client = client
        self._of_addresses: dict[str, dict[str, str | int]] = {}
        self._of_durations: dict[tuple[str, int | None, str], Attributes] = {}
        instruments.enter(client)

    def link(self) -> SpanContext | None:
        """See `Observer.link`."""
        return _link(trace.get_current_span())

    def call_started(self, operation: str) -> CallObserver:
        """See `Observer.call_started`."""
        return CallObserver(self, operation)

    def request_started(self, request: StartedRequest) -> RequestObserver:
        """See `Observer.request_started`."""
        return RequestObserver(self, request)

    @guarded
    def came_out(self, operation: str, outcome: StatusRecord[Any] | FailedCheck[Any]) -> None:
        """See `Observer.came_out`."""
        if isinstance(outcome, StatusRecord):
            self.count_record(operation, outcome)
        else:
            self.count_failure(operation, outcome.error)

    @guarded
    def noticed(self, record: StatusRecord[Any]) -> None:
        """See `Observer.noticed`."""
        if record.changed_at is not None:
            delay = (record.checked_at - record.changed_at).total_seconds()
            self.instruments.detection_delay.add(max(0.0, delay), {table.CHANNEL: record.channel.value})

    @guarded
    def close(self) -> None:
        """See `Observer.close`."""
        self.instruments.leave(self.client)

    def count_record(self, operation: str, record: StatusRecord[Any]) -> tuple[str, str]:
        """A call, a stream or a tracker of this name gives this record. Returns its status' title, and its channel."""
        title, channel = _title_of(record.status), record.channel.value
        self.instruments.counts.add(table.OUTCOMES.name, (operation, title, channel, ""))
        return title, channel

    def count_failure(self, operation: str, error: Exception | None) -> None:
        """It gives this error for a message; or, if it is a deletion, nothing."""
        key = operation, "", "", "" if error is None else type(error).__name__
        self.instruments.counts.add(table.OUTCOMES.name, key)

    def count_active(self, address: Address, more: int) -> None:
        """So many more requests to this address are in flight; fewer, if it is negative."""
        self.client.active[address.host, address.port] += more

    def keep_wait(self, kind: str, seconds: float) -> None:
        """A request of this kind has waited so long."""
        self.instruments.request_wait.add(seconds, _OF_KINDS[kind])

    def keep_duration(self, address: Address, http_status: int | None, error_type: str, seconds: float) -> None:
        """A request to this address took so long."""
        self.instruments.request_duration.add(seconds, self._duration_attributes(address, http_status, error_type))

    def count_request(self, kind: str, outcome: str, error: SmscError | None) -> None:
        """A request of this kind has ended like this."""
        counts = self.instruments.counts
        counts.add(table.REQUESTS.name, (kind, outcome, "" if error is None else type(error).__name__))
        if error is not None and isinstance(error, ApiError):
            code = str(error.code) if error.code in KNOWN_CODES else table.OTHER
            counts.add(table.REFUSALS.name, (code,))

    def attributes_of(self, address: Address) -> dict[str, str | int]:
        """The attributes of every request to this address."""
        attributes = self._of_addresses.get(address.url)
        if attributes is None:
            attributes = self._of_addresses[address.url] = {
                table.HTTP_METHOD: "POST",
                table.SERVER_ADDRESS: address.host,
                table.SERVER_PORT: address.port,
                table.URL_FULL: address.url,
            }
        return attributes

    def _duration_attributes(self, address: Address, http_status: int | None, error_type: str) -> Attributes:
        """The attributes of a request's duration: its time series. It is the same object for the same series."""
        key = address.url, http_status, error_type
        attributes = self._of_durations.get(key)
        if attributes is None:
            of_address = self.attributes_of(address)
            found = {name: of_address[name] for name in (table.HTTP_METHOD, table.SERVER_ADDRESS, table.SERVER_PORT)}
            if http_status is not None:
                found[table.HTTP_STATUS] = http_status
            if error_type:
                found[table.ERROR_TYPE] = error_type
            attributes = self._of_durations[key] = found
        return attributes


class CallObserver:
    """Observes one call that waits for one message. See `ObservedCall`."""

    __slots__ = ("_observer", "_operation", "_span", "link")

    @guarded
    def __init__(self, observer: ClientObserver, operation: str) -> None:
        self._observer = observer
        self._operation = operation
        self._span: Span = INVALID_SPAN
        self.link: SpanContext | None = None
        # What may fail comes last. The SDK would look the current context up again at each step.
        self._span = observer.tracer.start_span(f"smsc.{operation}", contexts.get_current())
        self.link = _link(self._span)

    @guarded
    def ended(self, outcome: StatusRecord[Any] | BaseException | None) -> None:
        """See `ObservedCall.ended`."""
        span = self._span
        if isinstance(outcome, StatusRecord):
            title, channel = self._observer.count_record(self._operation, outcome)
            if span.is_recording():
                # One by one, as for requests: the SDK needs fewer steps for that than for a mapping of a few.
                span.set_attribute(table.STATUS, title)
                span.set_attribute(table.CHANNEL, channel)
        elif outcome is None or isinstance(outcome, Exception):  # otherwise it is cancelled
            self._observer.count_failure(self._operation, outcome)
            if outcome is not None:
                span.set_attribute(table.ERROR_TYPE, type(outcome).__name__)
                span.set_status(StatusCode.ERROR)  # without the error's text, which may name a phone
        span.end()


class RequestObserver:
    """Observes one request. See `ObservedRequest`. It is also the context manager that its `current` gives."""

    __slots__ = ("_context", "_error_type", "_http_status", "_linked", "_observer", "_request", "_span", "_token")

    @guarded
    def __init__(self, observer: ClientObserver, request: StartedRequest) -> None:
        self._observer = observer
        self._request = request
        self._span: Span = INVALID_SPAN
        self._context = NO_CONTEXT
        # By its identity, because a span's context is not hashable. A span has one, and keeps it.
        self._linked: dict[int, SpanContext] = {}
        self._http_status: int | None = None
        self._error_type = ""
        # What may fail comes last.
        observer.count_active(request.address, 1)
        observer.keep_wait(request.kind, request.waited)
        self._span = observer.tracer.start_span(
            "POST",
            NO_CONTEXT,
            SpanKind.CLIENT,
            {
                **observer.attributes_of(request.address),
                table.KIND: request.kind,
                table.MESSAGES: request.messages,
                table.WAIT: request.waited,
            },
            [Link(link) for link in self._new_links()],
        )
        if self._span.get_span_context().is_valid:
            self._context = trace.set_span_in_context(self._span, NO_CONTEXT)

    def _new_links(self) -> list[SpanContext]:
        """The spans that the request serves and is not linked to yet, as far as there is room for links."""
        linked = self._linked
        links = []
        for link in self._request.links():
            if id(link) not in linked and isinstance(link, SpanContext):
                if len(linked) >= MAX_LINKS:
                    break
                linked[id(link)] = link
                links.append(link)
        return links

    def current(self) -> RequestObserver:
        """See `ObservedRequest.current`. The instrumentation of an HTTP client finds the request's span there."""
        return self

    def __enter__(self) -> None:
        self._token = contexts.attach(self._context)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not GeneratorExit:  # otherwise the event loop is gone, and this may run in anybody's context
            contexts.detach(self._token)

    @guarded
    def replied(self, http_status: int | None, error: SmscError | None, *, seconds: float) -> None:
        """See `ObservedRequest.replied`."""
        self._http_status = http_status
        if http_status is not None and http_status >= 400:
            self._error_type = str(http_status)
        elif error is not None:
            cause = error.__cause__ if isinstance(error, TransportError) else None
            self._error_type = type(cause or error).__qualname__
        self._observer.keep_duration(self._request.address, http_status, self._error_type, seconds)

    @guarded
    def ended(self, outcome: str, error: SmscError | None) -> None:
        """See `ObservedRequest.ended`."""
        request = self._request
        self._observer.count_active(request.address, -1)
        self._observer.count_request(request.kind, outcome, error)
        span = self._span
        if span.is_recording():
            for link in self._new_links():  # to those who have come since it was sent
                span.add_link(link)
            span.set_attribute(table.OUTCOME, outcome)
            if self._http_status is not None:
                span.set_attribute(table.HTTP_STATUS, self._http_status)
            if error is not None:
                self._set_error(error)
        span.end()

    def _set_error(self, error: SmscError) -> None:
        self._span.set_attribute(table.ERROR_TYPE, self._error_type or type(error).__name__)
        if isinstance(error, ApiError):
            self._span.set_attribute(table.ERROR_CODE, error.code)
        self._span.set_status(StatusCode.ERROR)  # without the error's text, which may quote the reply


_OF_KINDS: dict[str, Attributes] = {kind: {table.KIND: kind} for kind in ("single", "bulk", "delete")}


def _link(span: Span) -> SpanContext | None:
    context = span.get_span_context()
    return context if context.is_valid else None


@lru_cache(maxsize=64)
def _title_of(status: int) -> str:
    title = codes.status_title(status)
    return table.OTHER if title is None else title.en
