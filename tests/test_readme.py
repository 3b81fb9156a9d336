"""The README is true: its code runs as it stands, against the emulator on a real port."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from helpers import delivered

import smsc_status
from smsc_status import FailedCheck, MessageRef, StatusRecord
from smsc_status.emulator import Emulator, EmulatorServer

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def block(mark: str, folder: Path) -> ModuleType:
    """The one code block that contains `mark`, imported as a module."""
    (code,) = [text for text in BLOCKS if mark in text]
    path = folder / "readme_block.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("readme_block", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorServer]:
    emulator = Emulator()
    delivered(emulator, range(1, 21))
    with EmulatorServer(emulator) as server:
        monkeypatch.setenv("SMSC_APIKEY", "demo-key")
        monkeypatch.setenv("SMSC_BASE_URL", server.url)
        yield server


def test_every_block_is_run_by_a_test_here() -> None:
    """A new block needs a new test."""
    assert len(BLOCKS) == 5


def test_the_web_app(server: EmulatorServer, tmp_path: Path) -> None:
    """It answers, and says when to come back."""
    app = block("Starlette", tmp_path).app

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


def test_the_worker(server: EmulatorServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It follows its queue until it is told to stop."""
    module = block("def worker", tmp_path)

    async def main() -> None:
        for k in range(1, 11):
            module.sent.put_nowait(MessageRef(k, "79990000000"))
        module.sent.put_nowait(MessageRef(77, "79990000000"))
        module.sent.put_nowait(None)
        await module.worker()

    asyncio.run(main())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert "77 -3 None" in lines


def test_the_job(server: EmulatorServer, tmp_path: Path) -> None:
    """It counts a file's outcomes."""
    path = tmp_path / "messages.csv"
    rows = [f"{k},79990000000" for k in range(1, 23)] + ['"1,2",7']
    path.write_text("id,phone\n" + "\n".join(rows) + "\n")
    counted = asyncio.run(block("DictReader", tmp_path).job(str(path)))
    assert counted == {"Delivered": 20, "Not found": 2, "ConfigError": 1}


@pytest.mark.slow
def test_the_follower(server: EmulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message is saved with its end; a refused account gives all of them back."""
    follow = block("async def follow", tmp_path).follow
    refs = list(server.emulator.world)
    saved: list[StatusRecord | FailedCheck] = []

    async def save(outcome: StatusRecord | FailedCheck) -> None:
        saved.append(outcome)

    assert asyncio.run(follow(refs, save)) == []
    assert {outcome.ref for outcome in saved if isinstance(outcome, StatusRecord) and outcome.is_final} == set(refs)
    monkeypatch.setenv("SMSC_APIKEY", "wrong")
    assert set(asyncio.run(follow(refs, save))) == set(refs)


def test_the_test_on_the_emulator(tmp_path: Path) -> None:
    """A user's own test passes."""
    asyncio.run(block("test_my_code", tmp_path).test_my_code())


def test_the_names_that_it_mentions_exist() -> None:
    """Every error in its tree is exported."""
    tree = README.split("## Errors")[1].split("```")[1]
    names = set(re.findall(r"\b[A-Z][a-z]+[A-Z]?\w+", tree)) - {"ValueError", "TimeoutError", "HTTP"}
    assert {name for name in names if hasattr(smsc_status, name)} >= {
        cls.__name__ for cls in vars(smsc_status).values() if isinstance(cls, type) and issubclass(cls, Exception)
    }
