"""The README is true: its code runs as it stands, against the emulator on a real port."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from documents import README, README_RU, ROOT, blocks, module, outside_of_blocks, served, text_of

from smsc_status import MessageRef
from smsc_status.emulator import EmulatorServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorServer]:
    with served(monkeypatch) as server:
        yield server


def test_every_block_is_run_by_a_test_here() -> None:
    """A new block needs a new test."""
    assert len(blocks(README)) == 4


def test_the_gate_finds_two_commands() -> None:
    """`.ci/run` runs the lines that begin like this."""
    assert len(re.findall(r"^python3 -m venv.*$", text_of(README), re.MULTILINE)) == 2


@pytest.mark.parametrize("language", ["python", "sh"])
def test_the_blocks_are_the_same_in_russian(language: str) -> None:
    """But for their comments."""

    def without_comments(code: str) -> str:
        return re.sub(r"\s*#.*", "", code)

    english, russian = blocks(README, language), blocks(README_RU, language)
    assert list(map(without_comments, russian)) == list(map(without_comments, english))


def test_both_languages_have_the_same_sections() -> None:
    """A section that one has and the other has not was forgotten in a translation."""

    def levels(page: Path) -> list[str]:
        return re.findall(r"^(#+) ", outside_of_blocks(page), re.MULTILINE)

    assert levels(README_RU) == levels(README)


@pytest.mark.slow
def test_the_web_app_answers_and_says_when_to_come_back(server: EmulatorServer, tmp_path: Path) -> None:
    """It answers, and says when to come back."""
    app = module(README, "Starlette", tmp_path).app

    async def main() -> None:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as web,
        ):
            reply = await web.get("/status/1/79990000000")
            assert (reply.status_code, reply.json()["delivered"]) == (200, True)
            assert (await web.get("/status/1/79990000000")).json()["status"] == "Доставлено"
            assert (await web.get("/status/2,3/79990000000")).status_code == 400
            for phone in range(5):
                await web.get(f"/status/3/7999000000{phone}")
            late = await web.get("/status/3/79990000009")
            assert late.status_code == 503
            assert int(late.headers["retry-after"]) > 50

    asyncio.run(main())


def test_the_worker_follows_its_queue_until_it_is_told_to_stop(
    server: EmulatorServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It follows its queue until it is told to stop."""
    worker = module(README, "def worker", tmp_path)

    async def main() -> None:
        for k in range(1, 11):
            worker.sent.put_nowait(MessageRef(k, "79990000000"))
        worker.sent.put_nowait(MessageRef(77, "79990000000"))
        worker.sent.put_nowait(None)
        await worker.worker()

    asyncio.run(main())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert "77 -3 None" in lines


def test_the_job_counts_the_outcomes_of_a_file(server: EmulatorServer, tmp_path: Path) -> None:
    """It counts a file's outcomes."""
    path = tmp_path / "messages.csv"
    rows = [f"{k},79990000000" for k in range(1, 23)] + ['"1,2",7']
    path.write_text("id,phone\n" + "\n".join(rows) + "\n")
    counted = asyncio.run(module(README, "DictReader", tmp_path).job(str(path)))
    assert counted == {"Delivered": 20, "Not found": 2, "ConfigError": 1}


@pytest.mark.slow
def test_the_test_runs_in_an_empty_project(tmp_path: Path) -> None:
    """It needs no file beside it, and no package beside `smsc-status[testing]`, as the wheel has it."""
    (code,) = [block for block in blocks(README) if "smsc_emulator" in block]
    project, venv, wheels = tmp_path / "project", tmp_path / "venv", tmp_path / "wheels"
    project.mkdir()
    (project / "test_delivery.py").write_text(code, encoding="utf-8")
    hidden = "PYTEST", "PYTHON", "COV", "VIRTUAL_ENV"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    uv = Path(sys.executable).parent / "uv"
    run(uv, "build", "--quiet", "--wheel", "--out-dir", wheels, ROOT)
    run(uv, "venv", "--quiet", "--python", sys.executable, venv)
    (wheel,) = wheels.glob("*.whl")
    run(uv, "pip", "install", "--quiet", "--python", venv, f"{wheel}[testing]")
    assert "1 passed" in run(venv / "bin" / "python", "-m", "pytest", "-W", "error")
