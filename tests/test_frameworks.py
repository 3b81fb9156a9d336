"""The web apps of the how-tos, started as their users start them, with real workers on a real port."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from documents import ROOT, blocks, served

pytestmark = pytest.mark.slow

UVICORN = [sys.executable, "-m", "uvicorn", "--workers", "2", "--log-level", "warning"]


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


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
    """The record as `to_dict` gives it, from every worker; a bad phone is the visitor's mistake; it ends when told."""
    (code,) = [code for code in blocks(ROOT / "docs/howto" / page) if mark in code]
    (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    port = free_port()
    with served(monkeypatch):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
        app = subprocess.Popen([*command, port], cwd=tmp_path, env=environment)
        try:
            url = f"http://127.0.0.1:{port}/status"
            for _ in range(300):
                with contextlib.suppress(httpx.TransportError):
                    httpx.get(f"{url}/1/rubbish")
                    break
                time.sleep(0.1)
            for id in range(1, 11):
                reply = httpx.get(f"{url}/{id}/79990000000", timeout=30)
                assert reply.status_code == 200, reply.text
                assert (reply.json()["id"], reply.json()["status_title"]) == (str(id), "Delivered")
            assert httpx.get(f"{url}/1/rubbish").status_code == 400
        finally:
            app.terminate()
            app.wait(timeout=30)
