"""The documentation is true: its code runs, its links lead somewhere, the names that it mentions exist."""

from __future__ import annotations

import ast
import asyncio
import builtins
import functools
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import sqlalchemy as sa
import typer
from database_servers import postgres
from documents import PAGES, README, README_RU, ROOT, blocks, links, module, names, programs, served, text_of

import pytest_smsc_status
import smsc_status
from smsc_status import FailedCheck, MessageRef, StatusRecord, blocking, emulator, report
from smsc_status.emulator import FAULTS, EmulatorServer, virtual
from smsc_status.models import MOSCOW

DOCS = ROOT / "docs"
PACKAGE = ROOT / "smsc_status"
CONTRIBUTING, SECURITY = ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"
NAMING = [
    DOCS / "explanation/architecture.md",
    DOCS / "explanation/sharing.md",
    DOCS / "explanation/laws.md",
    CONTRIBUTING,
]

# The blocks that are imported and used below, by a word in each.
USED = {
    "howto/report.md": {"def report_of"},
    "howto/table.md": {"def keep_current"},
    "howto/task-queues.md": {"from taskiq import", "from celery import"},
    "howto/web-app.md": {"def status_of", "by_key =", "FastAPI(", "get_asgi_application"},
    "howto/worker.md": {"async def follow", "async def keep", "async def news"},
    "howto/sync-code.md": {"for outcome in client.stream", "def is_delivered", "get_wsgi_application"},
    "howto/testing.md": {
        "def test_delivery",
        "def anyio_backend",
        "def pytest_asyncio_loop_factories",
        "def test_a_day",
        "def test_my_command",
        "def test_what_my_old_script_does",
        "import respx",
        "def at_sixty_times_the_speed",
    },
    "howto/telemetry.md": {"ConsoleMetricExporter"},
    "reference/models.md": {"def keys_of_delivered"},
    "tutorial.md": {"sys.argv"},
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def on_page(name: str) -> Path:
    return DOCS / name


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorServer]:
    with served(monkeypatch) as server:
        yield server


# Code.


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_each_block_of_python_is_run_here_or_by_itself(page: Path) -> None:
    """Each block compiles, and is a program whose output is shown, or used by a test below."""
    shown = {code for code, _ in programs(page)}
    marks = USED.get(page.relative_to(DOCS).as_posix(), set())
    for code in blocks(page):
        compile(code, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        assert code in shown or sum(mark in code for mark in marks) == 1, code


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "output"),
    [pytest.param(*program, id=f"{relative(page)}-{n}") for page in PAGES for n, program in enumerate(programs(page))],
)
def test_a_program_prints_what_the_page_says(code: str, output: str) -> None:
    """It runs offline, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == output, done.stderr


CHECKS_ONCE = """
import asyncio, httpx
from smsc_status import StatusClient
from smsc_status.emulator import Emulator

async def main():
    transport = httpx.ASGITransport(app=Emulator())
    async with StatusClient(apikey="demo-key", base_url="http://localhost", transport=transport) as client:
        await client.check(1, "79990000000")

asyncio.run(main())
"""


@pytest.mark.slow
def test_metrics_can_be_read_on_the_console() -> None:
    """At the end of a program with the page's meter provider."""
    (provider,) = [code for code in blocks(on_page("howto/telemetry.md")) if "ConsoleMetricExporter" in code]
    run = [sys.executable, "-c", provider + CHECKS_ONCE]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (resource,) = json.loads(done.stdout)["resource_metrics"]
    assert {"smsc.outcomes", "http.client.request.duration"} <= {
        metric["name"] for metric in resource["scope_metrics"][0]["metrics"]
    }


def make_table_of_the_page(engine: sa.Engine) -> None:
    """As the page has it, with one message."""
    create, *_ = blocks(on_page("howto/table.md"), "sql")
    if engine.dialect.name == "sqlite":
        create = create.replace("bigserial", "integer")
    with engine.begin() as connection:
        connection.execute(sa.text(create))
    insert_message(engine, "1")


def insert_message(engine: sa.Engine, id: str) -> None:
    """One that was sent an hour ago."""
    sent = datetime.now(MOSCOW) - timedelta(hours=1)
    insert = "insert into sms (sms_id, recipient, sent) values (:id, '79990000000', :sent)"
    with engine.begin() as connection:
        connection.execute(sa.text(insert), {"id": id, "sent": sent.isoformat(" ")})


def outcomes_in(engine: sa.Engine) -> list[object]:
    with engine.begin() as connection:
        if "outcome" not in {column["name"] for column in sa.inspect(connection).get_columns("sms")}:
            return []
        return list(connection.execute(sa.text("select outcome from sms order by number")).scalars())


def keep_current_until_delivered(engine: sa.Engine, folder: Path) -> None:
    """By the page's program."""
    program = module(on_page("howto/table.md"), "def keep_current", folder)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(program.keep_current, engine.url.render_as_string())
            with anyio.fail_after(30):
                while set(outcomes_in(engine)) != {"Delivered"}:  # noqa: ASYNC110 (a database tells nobody)
                    await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()

    anyio.run(main)


@pytest.mark.slow
def test_a_table_is_kept_current(server: EmulatorServer, tmp_path: Path) -> None:
    """One of the page's shape, from its columns to its statuses."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    make_table_of_the_page(engine)
    keep_current_until_delivered(engine, tmp_path)
    engine.dispose()


@pytest.mark.slow
def test_a_table_of_postgresql_is_kept_current(
    monkeypatch: pytest.MonkeyPatch, server: EmulatorServer, tmp_path: Path
) -> None:
    """By the page's command, which checks each row once, and by its program, with the page's index."""
    _, index, *_ = blocks(on_page("howto/table.md"), "sql")
    (command,) = [
        line
        for block in blocks(on_page("howto/table.md"), "sh")
        for line in block.splitlines()
        if line.startswith("smsc-status sync") and line.endswith("--once")
    ]
    with postgres() as postgresql:
        engine = sa.create_engine(postgresql.url)
        make_table_of_the_page(engine)
        monkeypatch.setenv("DATABASE_URL", postgresql.url.replace("+psycopg", ""))
        run = [sys.executable, "-m", "smsc_status", *command.split()[1:]]
        done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert outcomes_in(engine) == ["Delivered"]
        assert index.strip().rstrip(";") in done.stderr
        with engine.begin() as connection:
            connection.execute(sa.text(index))
        insert_message(engine, "2")
        keep_current_until_delivered(engine, tmp_path)
        engine.dispose()


def test_a_worker_gets_the_status_from_the_service(
    monkeypatch: pytest.MonkeyPatch, server: EmulatorServer, tmp_path: Path
) -> None:
    """It gets the status from the README's app."""
    service = module(README, "Starlette", tmp_path).app
    workers = module(on_page("howto/web-app.md"), "def status_of", tmp_path)

    async def main() -> None:
        async with (
            service.router.lifespan_context(service),
            httpx.AsyncClient(transport=httpx.ASGITransport(app=service), base_url="http://statuses") as web,
        ):
            monkeypatch.setattr(workers, "STATUSES", web)
            assert (await workers.status_of(1, "79990000000"))["delivered"] is True
            assert await workers.status_of(1, "rubbish") is None

    asyncio.run(main())


@pytest.mark.slow
def test_the_app_of_fastapi_answers_with_a_record_or_with_the_error(server: EmulatorServer, tmp_path: Path) -> None:
    """The record comes as `to_dict` writes it. A bad phone is the visitor's mistake, an exhausted id is told when."""
    app = module(on_page("howto/web-app.md"), "FastAPI(", tmp_path).app

    async def main() -> None:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://statuses") as web,
        ):
            reply = await web.get("/status/1/79990000000")
            assert (reply.status_code, reply.json()["status_title"]) == (200, "Delivered")
            assert (await web.get("/status/1/rubbish")).status_code == 400
            for phone in range(79, 84):
                await web.get(f"/status/1/{phone}")
            late = await web.get("/status/1/90")
            assert (late.status_code, int(late.headers["Retry-After"]) > 30) == (503, True)
            assert (await web.get("/openapi.json")).status_code == 200

    asyncio.run(main())


def test_clients_with_one_limiter_are_made_as_they_stand(tmp_path: Path) -> None:
    """They are made as they stand."""
    page = module(on_page("howto/web-app.md"), "by_key =", tmp_path)
    assert page.by_key.stats().open_requests == page.by_login.stats().open_requests == 0


@pytest.mark.slow
def test_the_news_of_a_table_are_what_is_not_stored(server: EmulatorServer, tmp_path: Path) -> None:
    """Each row comes with its end."""
    page = module(on_page("howto/worker.md"), "async def news", tmp_path)
    server.emulator.world.add(50, "79990000000", sent_at=server.emulator.now() - 1, life=[(0, 0), (2, 1, 0)])
    rows = [page.Row(1, 1, "79990000000"), page.Row(2, 50, "79990000000", 0)]

    async def main() -> list[tuple[int, int]]:
        return [(outcome.ref.data.key, outcome.status) async for outcome in page.news(rows)]

    assert sorted(asyncio.run(main())) == [(1, 1), (2, 1)]


def test_the_keys_come_back_with_the_outcomes(server: EmulatorServer, tmp_path: Path) -> None:
    """The example of one's own data."""
    page = module(on_page("reference/models.md"), "def keys_of_delivered", tmp_path)

    async def main() -> list[int]:
        async with smsc_status.StatusClient.from_env() as client:
            rows = [page.Row(100 + id, id, "79990000000") for id in (1, 2, 404)]
            keys: list[int] = await page.keys_of_delivered(client, rows)
            return keys

    assert sorted(asyncio.run(main())) == [101, 102]


@pytest.mark.slow
def test_the_follower_saves_each_message_with_its_end(
    server: EmulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every message is saved with its end; a refused account gives all of them back."""
    follow = module(on_page("howto/worker.md"), "async def follow", tmp_path).follow
    refs = list(server.emulator.world)
    saved: list[StatusRecord | FailedCheck] = []

    async def save(outcome: StatusRecord | FailedCheck) -> None:
        saved.append(outcome)

    assert asyncio.run(follow(refs, save)) == []
    assert {outcome.ref for outcome in saved if isinstance(outcome, StatusRecord) and outcome.is_final} == set(refs)
    monkeypatch.setenv("SMSC_APIKEY", "wrong")
    assert set(asyncio.run(follow(refs, save))) == set(refs)


@pytest.mark.slow
def test_the_keeper_stores_every_outcome_in_batches(server: EmulatorServer, tmp_path: Path) -> None:
    """Each outcome is in one of the lists."""
    keep = module(on_page("howto/worker.md"), "async def keep", tmp_path).keep
    refs = list(server.emulator.world)
    stored: list[StatusRecord | FailedCheck] = []

    async def store(outcomes: list[StatusRecord | FailedCheck]) -> None:
        stored.extend(outcomes)

    asyncio.run(keep(refs, store))
    assert {outcome.ref for outcome in stored} == set(refs)


@pytest.mark.slow
def test_a_script_that_is_not_async_prints_its_outcomes(server: EmulatorServer) -> None:
    """As its user starts it."""
    (code,) = [code for code in blocks(on_page("howto/sync-code.md")) if "for outcome in client.stream" in code]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("True\n{'id': ")
    assert done.stdout.count("'status_title': 'Delivered'") == 2


def test_a_client_of_a_module_is_called_from_several_threads(server: EmulatorServer, tmp_path: Path) -> None:
    """Nobody opens or closes it."""
    page = module(on_page("howto/sync-code.md"), "def is_delivered", tmp_path)
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(page.is_delivered, range(1, 9), ["79990000000"] * 8))
    page.CLIENT.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "passed"),
    [
        pytest.param(
            {
                "test_first.py": "def test_delivery",
                "test_command.py": "def test_my_command",
                "test_script.py": "def test_what_my_old_script_does",
                "test_without.py": "import respx",
            },
            14,  # the async ones on asyncio and on trio
            id="real time",
        ),
        pytest.param(
            {"conftest.py": "def anyio_backend", "test_day.py": "def test_a_day"}, 2, id="anyio, virtual time"
        ),
        pytest.param(
            {"conftest.py": "def pytest_asyncio_loop_factories", "test_day.py": "def test_a_day"},
            1,
            id="pytest-asyncio, virtual time",
        ),
    ],
)
def test_a_user_s_tests_pass(files: dict[str, str], passed: int, pytester: pytest.Pytester) -> None:
    """Each block of the page is a file, which runs as it stands. pytest-asyncio's are marked by its auto mode."""
    is_asyncio = "def pytest_asyncio_loop_factories" in files.values()
    for name, mark in files.items():
        (code,) = [code for code in blocks(on_page("howto/testing.md")) if mark in code]
        code = code.replace("@pytest.mark.anyio\n", "") if is_asyncio else code
        (pytester.path / name).write_text(code, encoding="utf-8")
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    mode = "--asyncio-mode=auto" if is_asyncio else "--asyncio-mode=strict"
    plugin = "-p", "pytest_smsc_status", "-p", "no:cacheprovider"
    result = pytester.runpytest_subprocess(*plugin, mode, "-W", "error", timeout=60)
    result.assert_outcomes(passed=passed)


@pytest.mark.slow
def test_a_program_at_sixty_times_the_speed_ends(tmp_path: Path) -> None:
    """Its assertions hold."""
    asyncio.run(module(on_page("howto/testing.md"), "def at_sixty", tmp_path).at_sixty_times_the_speed())


def test_the_program_for_one_s_own_account_reads_the_environment(server: EmulatorServer, tmp_path: Path) -> None:
    """It reads the environment."""
    page = module(on_page("tutorial.md"), "sys.argv", tmp_path)
    asyncio.run(page.main("1", "79990000000"))


def test_a_program_writes_a_report(server: EmulatorServer, tmp_path: Path) -> None:
    """It takes what the client gives."""
    page = module(on_page("howto/report.md"), "def report_of", tmp_path)
    messages = [MessageRef(id, "79990000000") for id in range(1, 4)]
    summary = asyncio.run(page.report_of(messages, tmp_path / "report.html"))
    assert (summary.messages, summary.delivered) == (3, 3)
    assert "<h1>Март</h1>" in (tmp_path / "report.html").read_text(encoding="utf-8")


# Links and names.


@pytest.mark.parametrize("page", [README, README_RU, CONTRIBUTING, SECURITY, *PAGES], ids=relative)
def test_links_into_the_repository_lead_to_files(page: Path) -> None:
    """Those into this repository."""
    assert [link for link in links(page) if not (page.parent / link).exists()] == []


@functools.cache
def in_the_tree() -> tuple[set[str], set[str]]:
    """The names of classes and constants, and of functions, methods and attributes, that the package defines."""
    classes, others = set(), set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                classes.add(node.name)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.arg):
                others.add(node.name if not isinstance(node, ast.arg) else node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                others.add(node.id)
    return classes, others


def is_there(name: str, classes: set[str], others: set[str]) -> bool:
    """Whether a path is in the tree, or a class and its attribute in the package; anything else passes."""
    if re.fullmatch(r"[\w./]+(\.py|\.md|/)", name):
        return any((root / name).exists() for root in (ROOT, PACKAGE))
    match = re.fullmatch(r"([A-Z][a-z]\w+)(?:\.(\w+))?", name)
    if match is None:
        return True
    cls, attribute = match.groups()
    return (cls in classes or hasattr(builtins, cls)) and (attribute is None or attribute in others)


def missing(page: Path) -> list[str]:
    """What the page names in backticks, as a path, a class or an attribute of a class, and is not in the tree."""
    classes, others = in_the_tree()
    return [name for name in names(page) if not is_there(name, classes, others)]


@pytest.mark.slow
@pytest.mark.parametrize("page", NAMING, ids=relative)
def test_everything_that_a_page_names_exists(page: Path) -> None:
    """Modules, folders, classes, methods and test files."""
    assert missing(page) == []


@pytest.mark.slow
def test_a_name_that_does_not_exist_is_noticed(tmp_path: Path) -> None:
    """The test above does find something."""
    page = tmp_path / "page.md"
    page.write_text(
        "`client.py` `StatusClient` `StatusClient.check` `clients.py` `StatusClients` `StatusClient.chek`\n"
    )
    assert missing(page) == ["clients.py", "StatusClients", "StatusClient.chek"]


def test_the_reference_has_every_public_name() -> None:
    """Each name that can be imported from the package, the emulator and the limiter's module is on a page."""
    reference = "\n".join(map(text_of, (DOCS / "reference").glob("*.md")))
    public = {name for name in smsc_status.__all__ if not issubclass(getattr(smsc_status, name), Exception)}
    shown = set(re.findall(r"auto(?:class|function):: smsc_status\.(?:\w+\.)*(\w+)", reference))
    assert public - shown == set()
    ours = {name for name in emulator.__all__ if inspect.isclass(getattr(emulator, name)) and name != "Step"}
    assert ours | set(virtual.__all__) | set(blocking.__all__) | set(report.__all__) <= shown
    assert ".. automodule:: smsc_status.errors" in reference  # with all of its members


def test_the_reference_has_every_fixture_and_the_mark() -> None:
    """As the plugin has them."""
    fixtures = {name for name in vars(pytest_smsc_status) if name.startswith("smsc_")}
    # The plugin names the mark once, for itself.
    assert {*fixtures, pytest_smsc_status._MARK} <= set(names(DOCS / "reference/emulator.md"))


def test_the_reference_has_every_fault() -> None:
    """By its name."""
    assert set(FAULTS) - set(names(DOCS / "reference/emulator.md")) == set()


def test_the_reference_has_every_command_and_option() -> None:
    """As the command line itself has them."""
    rows = dict(re.findall(r"^\| `(\w+)[^`]*` \|(.*)\|$", text_of(DOCS / "reference/cli.md"), re.MULTILINE))
    group: Any = typer.main.get_command(importlib.import_module("smsc_status.cli._app").app)
    options = {
        name: {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        for name, command in group.commands.items()
    }
    assert {name: set(re.findall(r"`(--[\w-]+)`", row)) for name, row in rows.items()} == {
        name: {option for option in all_of_it if option.startswith("--")} for name, all_of_it in options.items()
    }
