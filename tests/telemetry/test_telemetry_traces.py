"""Spans: where they belong, what they are linked to, and what they say."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import Context

import anyio
import httpx
import pytest
from helpers import PHONE, Answering, answered_by, client_of, delivered, engine_of
from network import Network
from opentelemetry import baggage, trace
from opentelemetry import context as contexts
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from watching import Watch, attributes_of, context_of, ids_of, linked_to, parent_of

from smsc_status import MessageRef, SmscError, StatusClient
from smsc_status.blocking import BlockingClient
from smsc_status.emulator import Emulator, EmulatorServer
from smsc_status.telemetry import Telemetry

pytestmark = pytest.mark.anyio

DELIVERED = b'{"status": 1, "last_date": "01.01.2026 10:00:00", "last_timestamp": 1767250800, "flag": 0}'


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def emulator() -> Emulator:
    emulator = Emulator()
    delivered(emulator, range(1, 301))
    return emulator


# Where they belong.


async def test_a_check_is_a_span_in_its_callers_trace(watch: Watch, emulator: Emulator) -> None:
    async with client_of(emulator, telemetry=watch.telemetry) as client:
        with watch.tracer.start_as_current_span("handler") as handler:
            await client.check(1, PHONE)
    (span,) = watch.named("smsc.check")
    assert parent_of(span) == handler.get_span_context().span_id
    assert context_of(span).trace_id == handler.get_span_context().trace_id
    assert span.kind is SpanKind.INTERNAL
    assert attributes_of(span) == {"smsc.status": "Delivered", "smsc.channel": "sms"}
    assert span.status.status_code is StatusCode.UNSET


async def test_a_request_is_a_client_span_of_a_trace_of_its_own(watch: Watch, emulator: Emulator) -> None:
    """By HTTP's conventions, with what the library knows of it, and linked to the check that it serves."""
    async with client_of(emulator, telemetry=watch.telemetry) as client:
        with watch.tracer.start_as_current_span("handler"):
            await client.check(1, PHONE)
    (request,) = watch.requests
    assert (request.name, request.parent) == ("POST", None)
    assert linked_to(request) == ids_of(watch.named("smsc.check"))
    attributes = attributes_of(request)
    assert attributes.pop("smsc.request.wait") == pytest.approx(0, abs=1e-3)
    assert attributes == {
        "http.request.method": "POST",
        "server.address": "localhost",
        "server.port": 80,
        "url.full": "http://localhost/sys/status.php",
        "http.response.status_code": 200,
        "smsc.request.kind": "single",
        "smsc.request.messages": 1,
        "smsc.request.outcome": "answered",
    }
    assert request.status.status_code is StatusCode.UNSET
    scope = request.instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.schema_url) == ("smsc_status", "https://opentelemetry.io/schemas/1.37.0")
    assert scope.version


async def checks_at_once(watch: Watch, client: StatusClient, number: int) -> None:
    async def check(id: int) -> None:
        with watch.tracer.start_as_current_span(f"handler {id}"):
            await client.check(id, PHONE)

    async with anyio.create_task_group() as tasks:
        for id in range(1, number + 1):
            tasks.start_soon(check, id)


async def test_a_batch_is_linked_to_every_check_that_it_serves(watch: Watch, emulator: Emulator) -> None:
    async with client_of(emulator, telemetry=watch.telemetry) as client:
        await checks_at_once(watch, client, 10)
    (request,) = watch.requests
    assert attributes_of(request)["smsc.request.kind"] == "bulk"
    assert attributes_of(request)["smsc.request.messages"] == 10
    assert linked_to(request) == ids_of(watch.named("smsc.check"))
    assert len(linked_to(request)) == 10


async def test_a_request_has_at_most_128_links(watch: Watch, emulator: Emulator) -> None:
    async with client_of(emulator, telemetry=watch.telemetry) as client:
        await checks_at_once(watch, client, 200)
    (request,) = watch.requests
    assert len(request.links) == 128
    assert request.dropped_links == 0


async def test_who_joins_a_request_in_flight_is_linked_too(watch: Watch, emulator: Emulator) -> None:
    async def join() -> None:
        await anyio.sleep(0.05)
        with watch.tracer.start_as_current_span("late"):
            await client.check(1, PHONE)

    async with client_of(emulator, telemetry=watch.telemetry) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.check, 1, PHONE)
        tasks.start_soon(join)
    (request,) = watch.requests
    assert len(watch.named("smsc.check")) == 2
    assert linked_to(request) == ids_of(watch.named("smsc.check"))


@pytest.mark.parametrize("operation", ["stream", "track"])
async def test_requests_for_many_messages_are_linked_once_to_who_began(
    operation: str, watch: Watch, emulator: Emulator
) -> None:
    async with client_of(emulator, telemetry=watch.telemetry) as client:
        refs = [MessageRef(id, PHONE) for id in range(1, 21)]
        with watch.tracer.start_as_current_span("job") as job:
            assert len([outcome async for outcome in getattr(client, operation)(refs)]) == 20
    assert watch.requests
    for request in watch.requests:
        assert [link.context.span_id for link in request.links] == [job.get_span_context().span_id]


async def test_without_a_callers_span_a_stream_has_no_links(watch: Watch, emulator: Emulator) -> None:
    async with client_of(emulator, telemetry=watch.telemetry) as client:
        assert [outcome async for outcome in client.stream([(1, PHONE)])]
    (request,) = watch.requests
    assert not request.links


async def test_a_deletion_is_a_span_to_which_its_request_is_linked(watch: Watch, emulator: Emulator) -> None:
    async with client_of(emulator, telemetry=watch.telemetry) as client:
        with watch.tracer.start_as_current_span("handler") as handler:
            await client.delete(1, PHONE)
            with pytest.raises(SmscError):
                await client.delete(1, PHONE)
    done, failed = watch.named("smsc.delete")
    assert {parent_of(done), parent_of(failed)} == {handler.get_span_context().span_id}
    assert attributes_of(done) == {}
    assert attributes_of(failed) == {"error.type": "DeleteError"}
    first, second = watch.requests
    assert (linked_to(first), linked_to(second)) == (ids_of([done]), ids_of([failed]))
    assert attributes_of(first)["smsc.request.kind"] == "delete"
    assert attributes_of(second)["smsc.error.code"] == 5


async def test_a_record_that_is_given_again_has_a_span_and_no_request(watch: Watch, emulator: Emulator) -> None:
    async with client_of(emulator, telemetry=watch.telemetry) as client:
        for _ in range(2):
            await client.check(1, PHONE, max_age=10)
    assert len(watch.named("smsc.check")) == 2
    assert len(watch.requests) == 1


# Whose context it is.


class Spy(Network):
    """Notes the context in which each request is sent."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(emulator, round_trip=0.1)
        self.baggage: list[dict[str, object]] = []
        self.current: list[int] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.baggage.append(dict(baggage.get_all()))
        self.current.append(trace.get_current_span().get_span_context().span_id)
        return await super().handle_async_request(request)


async def test_a_request_is_sent_in_its_own_span_without_anybodys_baggage(watch: Watch, emulator: Emulator) -> None:
    """Whoever started the worker that sends it; and the worker's next request is not in the last one's span."""
    spy = Spy(emulator)
    async with client_of(emulator, telemetry=watch.telemetry, transport=spy) as client:
        for id in (1, 2):
            token = contexts.attach(baggage.set_baggage("customer", f"c{id}"))
            with watch.tracer.start_as_current_span("handler"):
                await client.check(id, PHONE)
                assert dict(baggage.get_all()) == {"customer": f"c{id}"}
            contexts.detach(token)
    assert spy.baggage == [{}, {}]
    assert spy.current == [context_of(request).span_id for request in watch.requests]


async def test_a_spans_context_is_current_only_while_its_request_is_sent(watch: Watch, emulator: Emulator) -> None:
    """What runs in the worker after that, such as `until`, is not in it."""
    seen: list[int] = []

    def until(record: object) -> bool:
        seen.append(trace.get_current_span().get_span_context().span_id)
        return True

    async with client_of(emulator, telemetry=watch.telemetry) as client:
        assert [outcome async for outcome in client.track([(1, PHONE)], until=until)]
    assert seen == [0]


async def test_a_request_takes_nothing_of_the_context_in_which_it_starts(watch: Watch) -> None:
    """Whoever that may be: neither a parent nor baggage."""
    async with answered_by(DELIVERED, telemetry=watch.telemetry) as client:
        token = contexts.attach(baggage.set_baggage("customer", "c1"))
        with watch.tracer.start_as_current_span("handler"):
            sent = engine_of(client).begin("single", messages=1, waited=0.0, links=list, now=0.0)
            with sent.current():
                assert dict(baggage.get_all()) == {}
            assert dict(baggage.get_all()) == {"customer": "c1"}
            sent.abandoned()
        contexts.detach(token)
    (request,) = watch.requests
    assert request.parent is None


async def test_a_request_whose_loop_is_gone_changes_nobodys_context(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its coroutine is then closed in whatever context the garbage collector runs in."""
    async with answered_by(DELIVERED, telemetry=watch.telemetry) as client:
        sent = engine_of(client).begin("single", messages=1, waited=0.0, links=list, now=0.0)
        current = sent.current()
        current.__enter__()
        Context().run(current.__exit__, GeneratorExit, None, None)
        sent.abandoned()
    assert caplog.text == ""


async def test_without_traces_a_request_is_sent_without_a_span(emulator: Emulator) -> None:
    """If the program measures only."""
    spy = Spy(emulator)
    watch = Watch()
    telemetry = Telemetry(meter_provider=watch.meters)
    async with client_of(emulator, telemetry=telemetry, transport=spy) as client:
        await client.check(1, PHONE)
    assert spy.current == [0]
    assert list(watch.series("smsc.requests").values()) == [1]


@pytest.fixture
def instrumented(watch: Watch) -> Iterator[None]:
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=watch.tracers)
    yield
    instrumentor.uninstrument()


@pytest.mark.slow
@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_spans_of_instrumented_httpx_are_children_of_the_requests(
    anyio_backend: str, watch: Watch, emulator: Emulator
) -> None:
    """Over a real socket: none of them is an orphan."""
    with EmulatorServer(emulator) as server:
        async with StatusClient(apikey="demo-key", base_url=server.url, telemetry=watch.telemetry) as client:
            await checks_at_once(watch, client, 8)
            await client.check(9, PHONE)
    spans = watch.requests
    ours = [span for span in spans if "smsc.request.kind" in attributes_of(span)]
    theirs = [span for span in spans if span not in ours]
    assert len(ours) == len(theirs) > 1
    assert {parent_of(span) for span in theirs} == ids_of(ours)


async def test_who_samples_nothing_gets_nothing(emulator: Emulator) -> None:
    """And what instruments the transport learns the decision."""
    watch = Watch(ALWAYS_OFF)
    sampled: list[bool] = []

    class Looking(Network):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            context = trace.get_current_span().get_span_context()
            sampled.append(context.is_valid and context.trace_flags.sampled)
            return await super().handle_async_request(request)

    async with client_of(emulator, telemetry=watch.telemetry, transport=Looking(emulator, round_trip=0.1)) as client:
        assert (await client.check(1, PHONE)).is_delivered
        with pytest.raises(SmscError):
            await client.delete(7777, PHONE)
    assert watch.spans == []
    assert sampled == [False, False]
    assert ("smsc.request.kind", "single") in next(iter(watch.series("smsc.requests")))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_blocking_check_is_in_the_trace_of_its_thread(anyio_backend: str, watch: Watch) -> None:
    """Its work is done in another thread."""
    client = BlockingClient(
        apikey="demo-key", base_url="http://localhost", transport=Answering(DELIVERED), telemetry=watch.telemetry
    )

    def check() -> int:
        with watch.tracer.start_as_current_span("script") as script, client:
            client.check(1, PHONE)
        return script.get_span_context().span_id

    script = await anyio.to_thread.run_sync(check)
    (span,) = watch.named("smsc.check")
    assert parent_of(span) == script
