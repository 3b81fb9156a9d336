"""The web apps and the workers of the how-tos, started as their users start them, in several processes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest
from documents import ROOT, blocks, served
from redis_servers import Server

pytestmark = pytest.mark.slow

UVICORN = [sys.executable, "-m", "uvicorn", "--workers", "2", "--log-level", "warning"]


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


def ask(url: str, id: int) -> httpx.Response:
    return httpx.get(f"{url}/{id}/79990000000", timeout=30)


@pytest.mark.parametrize(
    ("page", "mark", "name", "command"),
    [
        ("web-app.md", "FastAPI(", "statuses", [*UVICORN, "statuses:app", "--port"]),
        ("web-app.md", "get_asgi_application", "site_asgi", [*UVICORN, "site_asgi:application", "--port"]),
        (
            "sync-code.md",
            "get_wsgi_application",
            "site_wsgi",
            [sys.executable, "site_wsgi.py", "runserver", "--noreload"],
        ),
    ],
)
def test_the_app_of_a_how_to_answers_with_records(
    page: str, mark: str, *, name: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record as `to_dict` gives it; a bad phone is the visitor's mistake; it ends when told.

    Many ask at once, and its workers keep the limits together: two of them would each send a bulk request.
    """
    (code,) = [code for code in blocks(ROOT / "docs/howto" / page) if mark in code]
    (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    port = free_port()
    with served(monkeypatch) as server:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)]),
            "SMSC_SHARE": str(tmp_path / "account.log"),  # a client of a loopback address does not share by itself
        }
        app = subprocess.Popen([*command, port], cwd=tmp_path, env=environment)
        try:
            url = f"http://127.0.0.1:{port}/status"
            for _ in range(300):
                with contextlib.suppress(httpx.TransportError):
                    httpx.get(f"{url}/1/rubbish")
                    break
                time.sleep(0.1)
            with ThreadPoolExecutor(20) as visitors:
                replies = list(visitors.map(partial(ask, url), range(1, 21)))
            assert [reply.status_code for reply in replies] == [200] * 20, replies[-1].text
            told = [(reply.json()["id"], reply.json()["status_title"]) for reply in replies]
            assert told == [(str(id), "Delivered") for id in range(1, 21)]
            assert httpx.get(f"{url}/1/rubbish").status_code == 400
            assert server.emulator.referee.no_violations
        finally:
            app.terminate()
            app.wait(timeout=30)


# One asks for all tasks at once and prints the results.
ASK_CELERY = """
from delivery_celery import status_of

results = [status_of.delay(id, "79990000000") for id in range(1, 11)]
print([result.get(timeout=60)["status_title"] for result in results])
"""
ASK_TASKIQ = """
import asyncio
from delivery_taskiq import broker, status_of

async def main():
    await broker.startup()
    tasks = [await status_of.kiq(id, "79990000000") for id in range(1, 11)]
    print([(await task.wait_result(timeout=60)).return_value["status_title"] for task in tasks])
    await broker.shutdown()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("name", "command", "ask"),
    [
        ("delivery_taskiq", ["taskiq", "worker", "delivery_taskiq:broker", "--workers", "2"], ASK_TASKIQ),
        (
            "delivery_celery",
            ["celery", "-A", "delivery_celery", "worker", "--pool", "prefork", "--concurrency", "2"],
            ASK_CELERY,
        ),
    ],
)
def test_the_worker_of_a_how_to_does_its_tasks_in_two_processes(
    name: str, command: list[str], ask: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They keep the limits together, by the log that they are told, and end when told."""
    (code,) = [code for code in blocks(ROOT / "docs/howto/task-queues.md") if f"from {name[9:]} import" in code]
    (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    redis = Server("redis", tmp_path)
    try:
        with served(monkeypatch) as server:
            environment = os.environ | {
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)]),
                "SMSC_SHARE": str(tmp_path / "account.log"),  # a client of a loopback address does not share by itself
                "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            }
            worker = subprocess.Popen([sys.executable, "-m", *command], cwd=tmp_path, env=environment)
            try:
                asking = [sys.executable, "-c", ask]
                asked = subprocess.run(
                    asking, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
                )
                assert asked.stdout == f"{['Delivered'] * 10}\n", asked.stderr
                limits = [sys.executable, "-m", "smsc_status", "limits", "--json"]
                shown = subprocess.run(limits, check=True, env=environment, capture_output=True, timeout=60).stdout
                assert 1 <= len(json.loads(shown)["processes"]) <= 2, shown
            finally:
                worker.terminate()
                assert worker.wait(timeout=30) == 0
            assert server.emulator.referee.no_violations
    finally:
        redis.kill()
