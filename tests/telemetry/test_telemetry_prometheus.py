"""`smsc-status sync --metrics`: Prometheus' page, and the dashboard that is drawn from it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from documents import ROOT, text_of
from helpers import PHONE, client_of, delivered
from prometheus_client import REGISTRY, generate_latest
from redis_servers import free_port
from table_support import IN, OUT

from smsc_status.cli import _sync as command
from smsc_status.cli._app import run
from smsc_status.cli._exits import Exit
from smsc_status.cli._health import answering
from smsc_status.cli._meters import Quiet
from smsc_status.cli._metrics import Metrics
from smsc_status.emulator import Emulator, EmulatorServer, Referee
from smsc_status.models import MOSCOW
from smsc_status.tables import TableSync
from smsc_status.telemetry import _table
from smsc_status.telemetry._table import Instrument, Kind

DASHBOARD = ROOT / "docs/howto/grafana-dashboard.json"
LONGEST = 60.0

# What may stand beside a metric's name in a query without being one of its labels.
WORDS = {"sum", "max", "rate", "increase", "by", "histogram_quantile", "le", "job", "instance", "otel_scope_name"}


def exposed(instrument: Instrument) -> set[str]:
    """The names under which Prometheus gets it."""
    name = instrument.name.replace(".", "_") + ("_seconds" if instrument.unit == "s" else "")
    if instrument.kind is Kind.COUNTER:
        return {f"{name}_total"}
    return {f"{name}_{part}" for part in ("bucket", "count", "sum")} if instrument.kind is Kind.HISTOGRAM else {name}


def queries() -> list[str]:
    """All queries of the dashboard's panels."""
    panels = json.loads(text_of(DASHBOARD))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def named_in(queries: list[str]) -> set[str]:
    """The metrics that the queries name."""
    return {name for query in queries for name in re.findall(r"\b(?:smsc|http)_\w+(?=\{)", query)}


def labels_in(query: str) -> set[str]:
    """The labels that a query names."""
    selected = set(re.findall(r"(\w+)(?:=~|!=|=)\"", query))
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
    return selected | grouped


# The dashboard.


def test_the_dashboard_can_be_imported() -> None:
    """It chooses its data source by a variable, and its panels neither overlap nor share an id."""
    dashboard = json.loads(text_of(DASHBOARD))
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert dashboard["schemaVersion"] >= 36
    assert dashboard["title"]
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
        for target in panel.get("targets", []):
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_dashboard_shows_every_metric_by_its_own_labels() -> None:
    """A query names no label that its metric does not have."""
    by_name = {name: instrument for instrument in _table.ALL for name in exposed(instrument)}
    assert {by_name[name] for name in named_in(queries())} == set(_table.ALL)
    for query in queries():
        (instrument,) = {by_name[name] for name in named_in([query])}
        own = {attribute.replace(".", "_") for attribute in instrument.attributes}
        assert labels_in(query) - WORDS <= own, query


# The page.


@pytest.mark.parametrize("text", ["9464", "localhost:9464"])
def test_a_bad_address_names_the_option(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sync", "sqlite:///x.db", "--table", "t", "--metrics", text]) == Exit.USAGE
    assert f"--metrics '{text}': expected HOST:PORT" in capsys.readouterr().err


def test_without_the_exporter_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SMSC_APIKEY", "k")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.prometheus", None)
    assert run(["sync", "sqlite:///x.db", "--table", "t", "--metrics", "127.0.0.1:0"]) == Exit.USAGE
    assert "pip install 'smsc-status[metrics]'" in capsys.readouterr().err


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    made = Metrics()
    yield made
    made.close()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_page_has_what_the_client_measures(anyio_backend: str, metrics: Metrics) -> None:
    """Beside what Prometheus' client measures of the process."""
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator, telemetry=metrics.telemetry) as client:
        await client.check(1, PHONE)
        async with answering({("127.0.0.1", 0): {"/metrics": metrics.page}}) as (port,):
            url = f"http://127.0.0.1:{port}/metrics"
            body = await anyio.to_thread.run_sync(read, url)
    assert 'smsc_request_kind="single"' in body
    assert "smsc_messages_waiting{" in body
    assert "python_info" in body


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as reply:
        assert reply.headers["content-type"].startswith("text/plain")
        return str(reply.read().decode())


def run_of(tmp_path: Path, page: Metrics, **options: Any) -> command.Run:
    client = client_of(Emulator())
    sync = TableSync(client, f"sqlite:///{tmp_path / 'x.db'}", table="messages")
    following = {"once": True, "detail": None, "eagerness": 0.5, "expire_after": 9.0, "health": None, "metrics": None}
    return command.Run(
        client=client, metrics=page, sync=sync, options=command.Following(**following | options), meter=Quiet()
    )


def test_probes_and_prometheus_may_have_one_address(tmp_path: Path, metrics: Metrics) -> None:
    """Or two, or none."""
    one, other = ("127.0.0.1", 1), ("127.0.0.1", 2)

    def pages(**options: Any) -> dict[tuple[str, int], set[str]]:
        # Which page is served where, without serving them.
        return {address: set(found) for address, found in run_of(tmp_path, metrics, **options)._pages().items()}

    assert pages(health=one, metrics=one) == {one: {"/healthz", "/livez", "/metrics"}}
    assert pages(health=one, metrics=other) == {one: {"/healthz", "/livez"}, other: {"/metrics"}}
    assert pages() == {}


def test_a_run_that_ends_closes_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus' registry, which the process has only once, lets go of it."""

    def page(_: object) -> Exit:
        assert "smsc_limiter_appends_total" in generate_latest(REGISTRY).decode()
        return Exit.DONE

    monkeypatch.setattr(anyio, "run", page)
    assert run_of(tmp_path, Metrics()).carry_out() == Exit.DONE
    assert "smsc_" not in generate_latest(REGISTRY).decode()


# A real process.


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    emulator = Emulator(referee=Referee(period=0.01), faults={"spurious_9": 1.0})
    with EmulatorServer(emulator) as server:
        yield server


def insert(database: sa.Engine, emulator: Emulator, ids: range) -> None:
    for id in ids:
        ref = emulator.world.add(id, PHONE, sent_at=emulator.now() - 60, life=[(0, 0), (61 + id / 10, 1, 0)])
        assert ref.sent_at is not None
        sent_at = ref.sent_at.astimezone(MOSCOW).strftime("%Y-%m-%d %H:%M:%S")
        with database.begin() as connection:
            statement = sa.text("insert into messages (id, phone, sent_at) values (:id, :phone, :sent_at)")
            connection.execute(statement, {"id": id, "phone": PHONE, "sent_at": sent_at})


def page_until(url: str, wanted: set[str]) -> str:
    """The page, as soon as it has all these metrics; after a while, as it is."""
    until, page = time.monotonic() + LONGEST, ""
    while time.monotonic() < until:
        with suppress(OSError):
            page = read(url)
            if wanted <= on_page(page):
                break
        time.sleep(0.1)
    return page


def on_page(page: str) -> set[str]:
    """The metrics that have a value."""
    return set(re.findall(r"^(\w+)(?:\{[^}]*\})? ", page, re.MULTILINE))


@pytest.mark.slow
def test_a_process_gives_prometheus_all_that_the_dashboard_shows(server: EmulatorServer, tmp_path: Path) -> None:
    """By the names in its queries, with the labels in them, and with nobody's phone, text or key."""
    database = sa.create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with database.begin() as connection:
        connection.execute(sa.text(f"create table messages ({IN}, {OUT})"))
    insert(database, server.emulator, range(1, 21))
    port = free_port()
    program = subprocess.Popen(
        [
            *(sys.executable, "-m", "smsc_status", "sync", database.url.render_as_string(), "--table", "messages"),
            *("--metrics", f"127.0.0.1:{port}", "--period", "1", "--margin", "0.1"),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT), "SMSC_APIKEY": "demo-key", "SMSC_BASE_URL": server.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = f"http://127.0.0.1:{port}/metrics"
        page_until(url, {"smsc_refusals_total"})
        server.emulator.faults.change(spurious_9=0.0)
        page = page_until(url, named_in(queries()))
        program.send_signal(signal.SIGTERM)
        _, errors = program.communicate(timeout=LONGEST)
    finally:
        program.kill()
        database.dispose()
    assert program.returncode == 0, errors
    assert named_in(queries()) - on_page(page) == set()
    for query in queries():
        for name in named_in([query]):
            shown = re.findall(rf"^{name}\{{([^}}]*)\}}", page, re.MULTILINE)
            labels = {label for line in shown for label in re.findall(r"(\w+)=\"", line)}
            assert labels_in(query) - {"job", "instance", "error_type", "otel_scope_name"} <= labels, query
    assert PHONE not in page
    assert "demo-key" not in page
