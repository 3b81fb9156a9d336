"""Processes that share one account: what they can do together, and what sharing costs.

`python -m benchmarks.fleet [SECONDS [SCALE]]`: the web app runs for so many seconds at each rate (default 130), and all
other sizes are multiplied by the scale (default 0.1).

- The README's web app, shortened, with one worker and with four, at 10 and 30 requests a second, for new messages. The
  emulator counts and refuses, in a process of its own. Rows: `share` is a file, or only the process.
- A lone `check` through a file and within a process, beside the same POST by bare httpx, in turns in one process.
- A thousand checks at once in each of four processes: the share of the CPU time that the log takes.
- Four processes that stream, beside one that streams as many messages.

`benchmarks.shared_log` says how large the log gets, and how long it takes to read it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, cast
from unittest import mock

import anyio
import attrs
import httpx

from benchmarks import answering
from benchmarks.client import PHONE, Took, form, in_turns
from smsc_status import StatusClient
from smsc_status._sharing.file import FileStore
from smsc_status.emulator import Emulator, EmulatorServer

ROOT = Path(__file__).parents[1]
LATENCY = 0.1
RATES = (10, 30)

_ids = itertools.count(10**6)

APP = """
import contextlib, os, sys
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from smsc_status import LimitExceeded, SmscError, StatusClient

@contextlib.asynccontextmanager
async def lifespan(app):
    async with StatusClient.from_env() as client:
        app.state.client = client
        yield

async def status(request):
    try:
        record = await app.state.client.check(
            request.path_params["id"], request.path_params["phone"], max_wait=5, max_age=1
        )
    except LimitExceeded as error:
        return JSONResponse({}, 503)
    except SmscError as error:
        return JSONResponse({"error": str(error)}, 502)
    return JSONResponse({"status": record.status})

app = Starlette(routes=[Route("/status/{id}/{phone}", status)], lifespan=lifespan)
"""
"""The README's web app, without the texts of its answers."""


@attrs.frozen
class Row:
    """What came of the web app at one rate."""

    answered: float
    refusals: int
    most_open: int


@contextmanager
def emulator(messages: int) -> Iterator[str]:
    """The URL of an emulator in a process of its own."""
    with _python("-m", "benchmarks.fleet", "serve", str(messages)) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.communicate()


@contextmanager
def _python(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(  # noqa: S603 (what this module says)
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def serve(messages: int) -> None:
    """Be the emulator, until the standard input is closed."""
    emulated = Emulator(latency=LATENCY)
    sent_at = emulated.now() - 3600
    for id in range(1, messages + 1):
        emulated.world.add(id, PHONE, sent_at=sent_at, life=[(0, 1, 0)])
    with EmulatorServer(emulated) as server:
        print(server.url, flush=True)
        sys.stdin.read()


def web_app(*, workers: int, rate: int, seconds: float, is_shared: bool) -> Row:
    """Ask the web app for new messages at this rate."""
    messages = int(rate * seconds)
    with (
        tempfile.TemporaryDirectory() as folder,
        emulator(messages) as url,
        socket.create_server(("127.0.0.1", 0)) as s,
    ):
        port = s.getsockname()[1]
        s.close()
        (Path(folder) / "fleet_app.py").write_text(APP)
        share = f"{folder}/account.log" if is_shared else "process"
        # Without a log: nobody reads it, so it would fill the pipe, and then uvicorn would stand still.
        arguments = ("-m", "uvicorn", "fleet_app:app", "--app-dir", folder, "--no-access-log", "--port", str(port))
        with _python(
            *arguments,
            "--workers",
            str(workers),
            SMSC_APIKEY="demo-key",
            SMSC_BASE_URL=url,
            SMSC_SHARE=share,
            PYTHONPATH=str(ROOT),
        ):
            answered = asyncio.run(_ask(f"http://127.0.0.1:{port}", messages, rate))
            stats = httpx.get(f"{url}/emulator/stats").json()
    return Row(answered / messages, sum(stats["refusals"].values()), stats["peak_open"])


async def _ask(url: str, messages: int, rate: int) -> int:
    answered = 0
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)

    async def ask(http: httpx.AsyncClient, id: int) -> None:
        nonlocal answered
        response = await http.get(f"{url}/status/{id}/{PHONE}")
        answered += response.status_code == 200

    async with httpx.AsyncClient(limits=limits, timeout=60) as http, anyio.create_task_group() as tasks:
        await _until_up(url, http)
        began_at = anyio.current_time()
        for id in range(1, messages + 1):
            await anyio.sleep(max(0.0, began_at + id / rate - anyio.current_time()))
            tasks.start_soon(ask, http, id)
    return answered


async def _until_up(url: str, http: httpx.AsyncClient) -> None:
    for _ in range(600):
        try:
            await http.get(f"{url}/")
        except httpx.ConnectError:
            await anyio.sleep(0.1)
        else:
            return
    raise TimeoutError("the web app did not start")


@asynccontextmanager
async def _shared(url: str, share: str, **options: Any) -> AsyncIterator[StatusClient]:
    async with StatusClient(apikey="k", base_url=url, share=share, **options) as client:
        yield client


async def lone(url: str, folder: str, *, calls: int, rounds: int) -> dict[str, Took]:
    """One status at a time, in each way."""
    other = url.replace("127.0.0.1", "localhost")
    async with (
        httpx.AsyncClient() as http,
        _shared(url, "process") as alone,
        _shared(other, f"{folder}/lone.log") as shared,
    ):

        async def by_httpx() -> None:
            json.loads((await http.post(f"{url}/sys/status.php", data=form())).content)

        async def by_check() -> None:
            await alone.check(next(_ids), PHONE)

        async def by_shared_check() -> None:
            await shared.check(next(_ids), PHONE)

        works = {"httpx": by_httpx, "check, share='process'": by_check, "check, a file": by_shared_check}
        for work in works.values():
            await work()
        return await in_turns(works, calls=calls, rounds=rounds)


async def _work(url: str, share: str, kind: str, first: int, count: int) -> None:
    """Be one of several processes. Prints its seconds, its CPU seconds, and those of them that the log took."""
    in_log = 0.0
    transact = FileStore._explained

    def timed(store: FileStore, work: Any, *args: Any) -> Any:
        nonlocal in_log
        before = process_time()
        try:
            return transact(store, work, *args)
        finally:
            in_log += process_time() - before

    with mock.patch.object(FileStore, "_explained", timed):
        async with _shared(url, share) as client:
            print("ready", flush=True)
            await anyio.to_thread.run_sync(sys.stdin.readline)
            cpu, began_at = process_time(), perf_counter()
            if kind == "stream":
                found = [outcome async for outcome in client.stream((first + k, PHONE) for k in range(count))]
                assert len(found) == count
            else:
                await asyncio.gather(*(client.check(first + k, PHONE) for k in range(count)))
            print(json.dumps([perf_counter() - began_at, process_time() - cpu, in_log]))


def together(url: str, share: str, kind: str, *, processes: int, count: int) -> list[tuple[float, float, float]]:
    """Run so many processes at once, each with so many messages. Returns what each of them prints."""
    commands = [
        ["-m", "benchmarks.fleet", "work", url, share, kind, str(10**6 * (k + 1)), str(count)] for k in range(processes)
    ]
    running = [
        subprocess.Popen(  # noqa: S603 (this very module)
            [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for command in commands
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [cast("tuple[float, float, float]", json.loads(p.communicate()[0].splitlines()[-1])) for p in running]
    finally:
        for process in running:
            process.kill()
            process.wait()


def _show_lone(found: Mapping[str, Took]) -> None:
    peer = found["httpx"]
    for name, took in found.items():
        ratios = f"{took.wall / peer.wall:6.2f} x httpx, CPU {took.cpu / peer.cpu:.2f}"
        print(f"{name:24} {took.wall * 1e6:8.0f} µs {ratios}")


def main(seconds: float = 130.0, scale: float = 0.1) -> None:
    """Print all figures."""
    print(f"the web app, {seconds:g} s each: answered, refusals, most open at once")
    for is_shared, workers, rate in itertools.product((True, False), (1, 4), RATES):
        row = web_app(workers=workers, rate=rate, seconds=seconds, is_shared=is_shared)
        name = f"{'a file' if is_shared else 'process':8} {workers} workers, {rate} a second"
        print(f"{name:34} {row.answered:7.1%} {row.refusals:6} {row.most_open:4}", flush=True)
    with tempfile.TemporaryDirectory() as folder, answering.running() as url:
        print("\na lone check")
        calls = max(1, int(50 * min(1.0, scale * 10)))
        _show_lone(asyncio.run(lone(url, folder, calls=calls, rounds=max(1, int(300 * scale)))))
        count = max(10, int(1000 * min(1.0, scale * 10)))
        found = together(url, f"{folder}/crowd.log", "checks", processes=4, count=count)
        wall, cpu, in_log = (sum(values) for values in zip(*found, strict=True))
        print(f"\n{count} checks at once in each of four: {wall / 4:.1f} s, {in_log / cpu:.0%} of the CPU in the log")
    with tempfile.TemporaryDirectory() as folder, answering.running(LATENCY) as url:
        count = max(10, int(10_000 * scale / 10))
        for processes, each in ((1, 4 * count), (4, count)):
            found = together(url, f"{folder}/{processes}.log", "stream", processes=processes, count=each)
            print(f"{processes} stream {each} each: {max(took for took, _, _ in found):.1f} s", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]))
    elif sys.argv[1:2] == ["work"]:
        _, _, url_, share_, kind_, first_, count_ = sys.argv
        asyncio.run(_work(url_, share_, kind_, int(first_), int(count_)))
    else:
        main(*map(float, sys.argv[1:]))
