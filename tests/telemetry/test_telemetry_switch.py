"""When telemetry is on, and that a program without it does not load it."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import anyio
import pytest
from helpers import LOOPS, PHONE, answered_by, engine_of
from opentelemetry import metrics, trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import NoOpTracerProvider
from watching import Watch

from smsc_status import ConfigError, StatusClient
from smsc_status import telemetry as package
from smsc_status.telemetry import Telemetry, _telemetry, is_provider_set

pytestmark = pytest.mark.anyio

REPLY = b'{"status": 1}'

PROGRAM = """
import sys, anyio
{before}
import httpx
from smsc_status import StatusClient
from smsc_status.emulator import Emulator
async def main():
    transport = httpx.ASGITransport(app=Emulator())
    client = StatusClient(apikey="demo-key", base_url="http://localhost", transport=transport{argument})
    {between}
    async with client:
        try:
            await client.check(1, "79990000000")
        except Exception as error:
            assert type(error).__name__ == "ParametersError", error
    {after}
anyio.run(main)
"""
SDK = """
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
def set_tracers():
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(tracers)
def set_meters():
    metrics.set_meter_provider(MeterProvider([reader]))
"""


def printed(before: str = "pass", *, argument: str = "", between: str = "pass", after: str) -> str:
    code = PROGRAM.format(before=before, argument=argument, between=between, after=after)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_a_program_without_opentelemetry_loads_nothing_of_it() -> None:
    """It is installed, and a check was made."""
    loaded = "[name for name in sys.modules if 'opentelemetry' in name or name.startswith('smsc_status.telemetry')]"
    assert printed(after=f"print({loaded})") == "[]"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "spans", "has_metrics"),
    [
        pytest.param({"before": SDK}, 0, False, id="no provider is set"),
        pytest.param({"before": f"{SDK}set_tracers()\nset_meters()"}, 2, True, id="both are set"),
        pytest.param({"before": f"{SDK}set_tracers()"}, 2, False, id="only traces"),
        pytest.param({"before": f"{SDK}set_meters()"}, 0, True, id="only metrics"),
        pytest.param({"before": SDK, "between": "set_tracers()"}, 2, False, id="between making and first use"),
        pytest.param({"before": SDK, "between": "await client.__aenter__(); set_tracers()"}, 0, False, id="too late"),
        pytest.param(
            {
                "before": SDK,
                "argument": ", telemetry=True",
                "between": "await client.__aenter__(); set_tracers(); set_meters()",
            },
            2,
            True,
            id="later, with telemetry=True",
        ),
        pytest.param(
            {"before": f"{SDK}set_tracers()\nset_meters()", "argument": ", telemetry=False"}, 0, False, id="off"
        ),
    ],
)
def test_it_is_on_if_a_global_provider_is_set_when_the_client_is_first_used(
    options: dict[str, str], spans: int, has_metrics: bool
) -> None:
    """A request's span and a check's, and metrics."""
    after = "print(len(spans.get_finished_spans()), bool(reader._collect and reader.get_metrics_data()))"
    assert printed(**options, after=after) == f"{spans} {has_metrics}"


async def test_without_a_provider_nobody_observes() -> None:
    """OpenTelemetry is loaded here."""
    assert "opentelemetry.trace" in sys.modules
    assert not is_provider_set()
    async with answered_by(REPLY) as client:
        assert engine_of(client).observer is None


@pytest.mark.parametrize(
    ("tracers", "meters", "is_set"),
    [
        (NoOpTracerProvider(), NoOpMeterProvider(), False),
        (Watch().tracers, NoOpMeterProvider(), True),
        (NoOpTracerProvider(), Watch().meters, True),
    ],
    ids=["the API's own", "traces", "metrics"],
)
async def test_a_provider_that_does_nothing_counts_as_none(
    tracers: Any, meters: Any, is_set: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracers)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meters)
    monkeypatch.setattr(_telemetry, "_of_global", [])
    assert is_provider_set() is is_set
    async with answered_by(REPLY) as client:
        assert (engine_of(client).observer is not None) is is_set


async def test_clients_share_the_telemetry_of_the_global_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each instrument may be made only once."""
    monkeypatch.setattr(_telemetry, "_of_global", [])
    async with answered_by(REPLY, telemetry=True), answered_by(REPLY, telemetry=True):
        assert len(Telemetry()._instruments.clients) == 2


async def test_telemetries_of_one_provider_are_measured_together() -> None:
    """Otherwise OpenTelemetry would ignore the instruments of the second."""
    watch = Watch()
    other = Telemetry(meter_provider=watch.meters)
    async with answered_by(REPLY, telemetry=watch.telemetry) as one, answered_by(REPLY, telemetry=other) as two:
        await one.check(1, PHONE)
        await two.check(1, PHONE)
        assert list(watch.series("smsc.requests").values()) == [2]
        assert list(watch.series("smsc.messages.waiting").values()) == [0]


@pytest.mark.parametrize("is_named_first", [True, False])
async def test_the_global_provider_may_be_named(is_named_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before or after it is the global one, it is measured together with the clients that use it by default."""
    meters = MeterProvider([], shutdown_on_exit=False)
    monkeypatch.setattr(_telemetry, "_of_global", [])
    first = Telemetry(meter_provider=meters) if is_named_first else None
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meters)
    named, default = Telemetry(meter_provider=meters), Telemetry()
    # Instruments that are made twice are measured apart, which only a reader of both would show.
    assert named._instruments is default._instruments
    assert first is None or first._instruments is default._instruments


@pytest.mark.parametrize("telemetry", ["yes", 1, object(), Telemetry])
def test_another_value_is_refused(telemetry: Any) -> None:
    with pytest.raises(ConfigError, match=r"telemetry of the type \w+: expected a Telemetry, a bool or None"):
        answered_by(REPLY, telemetry=telemetry)


def test_without_the_api_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("smsc_status.telemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(ConfigError, match=r"pip install 'smsc-status\[telemetry\]'"):
        answered_by(REPLY, telemetry=True)


async def test_an_api_that_cannot_be_used_costs_nobody_an_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If nobody has asked for telemetry, it is only warned of."""

    def fail() -> bool:
        raise TypeError("an old version")

    monkeypatch.setattr(package, "is_provider_set", fail)
    async with answered_by(REPLY) as client:
        assert (await client.check(1, PHONE)).is_delivered
        assert engine_of(client).observer is None
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == ["telemetry can't be used, and the client works without it: TypeError: an old version"]


@pytest.mark.parametrize("backend", LOOPS)
def test_a_client_can_be_used_again_in_the_next_loop(backend: str) -> None:
    """It is then observed in that loop, and no longer in the last one."""
    watch = Watch()
    client = answered_by(REPLY, telemetry=watch.telemetry)
    anyio.run(client.check, 1, PHONE, backend=backend)
    last = engine_of(client).observer
    assert last is not None
    (sampled,) = watch.instruments.clients
    assert sampled.sample() is None  # its loop has ended

    async def again() -> None:
        await client.check(1, PHONE)
        assert engine_of(client).observer is not last
        assert sampled not in watch.instruments.clients
        assert list(watch.series("smsc.messages.waiting").values()) == [0]
        await client.aclose()

    anyio.run(again, backend=backend)
    assert list(watch.series("smsc.requests").values()) == [2]


async def test_whoever_says_no_is_not_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where a provider is set."""
    monkeypatch.setattr(package, "is_provider_set", lambda: True)
    async with answered_by(REPLY, telemetry=False) as client:
        assert engine_of(client).observer is None


async def test_a_subclass_of_telemetry_is_taken() -> None:
    class Mine(Telemetry):
        pass

    watch = Watch()
    async with StatusClient(
        apikey="k", base_url="http://localhost", telemetry=Mine(tracer_provider=watch.tracers)
    ) as client:
        assert engine_of(client).observer is not None
