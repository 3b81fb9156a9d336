"""What `share` means: with whom a client shares its account."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import anyio
import httpx
import pytest
from helpers import PHONE, delivered

from smsc_status import ConfigError, Limits, LocalLimiter, StatusClient
from smsc_status._runtime import sharing
from smsc_status._sharing import places
from smsc_status._sharing.limiter import SharedLimiter
from smsc_status.emulator import Emulator, EmulatorServer
from smsc_status.limiter import Limiter


def limiter_of(
    share: str | os.PathLike[str] | None = None,
    *,
    url: str = "https://smsc.ru",
    login: str = "me",
    limits: Limits | None = None,
) -> Limiter:
    return StatusClient(login=login, password="secret", base_url=url, share=share, limits=limits)._engine.limiter


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(sharing, "DEFAULT", sharing.MACHINE)
    monkeypatch.setattr(sharing, "_warnings", set())
    return tmp_path / "smsc_status"


def test_by_default_the_machine_s_processes_share(state: Path) -> None:
    limiter = limiter_of()
    assert isinstance(limiter, SharedLimiter)
    assert limiter.where == str(state)
    assert limiter_of("machine") is limiter
    assert limiter_of(login="other") is not limiter


def test_an_emulator_is_shared_within_the_process(state: Path) -> None:
    """Unless the user says otherwise."""
    limiter = limiter_of(url="http://localhost:1")
    assert isinstance(limiter, LocalLimiter)
    assert limiter_of("process", url="http://localhost:1") is limiter
    assert isinstance(limiter_of("machine", url="http://localhost:1"), SharedLimiter)


def test_a_client_with_a_transport_has_a_limiter_of_its_own(state: Path) -> None:
    def made() -> Limiter:
        transport = httpx.ASGITransport(app=Emulator())
        return StatusClient(apikey="k", base_url="http://localhost", transport=transport)._engine.limiter

    assert isinstance(made(), LocalLimiter)
    assert made() is not made()


def test_where_there_is_no_place_the_process_keeps_the_limits_alone(
    state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With one warning."""
    monkeypatch.setattr(places, "why_not_here", lambda path: "a network file system")
    for login in ("a", "b"):
        assert isinstance(limiter_of(login=login), LocalLimiter)
    monkeypatch.undo()
    monkeypatch.setattr(sharing, "DEFAULT", sharing.MACHINE)

    def no_directory() -> Path:
        raise ConfigError("the state directory: none")

    monkeypatch.setattr(places, "default_directory", no_directory)
    assert isinstance(limiter_of(login="c"), LocalLimiter)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


@pytest.mark.parametrize("share", ["here", "http://host", 7, b"/tmp/log"])
def test_another_share_is_refused(share: object) -> None:
    with pytest.raises(ConfigError, match="expected 'process', 'machine'"):
        limiter_of(share)  # type: ignore[arg-type]  # some are of the wrong type


def test_one_process_keeps_one_set_of_limits(tmp_path: Path) -> None:
    limiter = limiter_of(tmp_path / "log")
    assert limiter_of(str(tmp_path / "log")) is limiter
    with pytest.raises(ConfigError, match="in use in this process"):
        limiter_of(tmp_path / "log", limits=Limits(period=3))


@pytest.mark.parametrize("is_folder", [False, True], ids=["a file", "a directory"])
@pytest.mark.parametrize("by", ["login", "apikey"])
def test_a_path_may_be_a_file_or_a_directory(tmp_path: Path, is_folder: bool, by: str) -> None:
    """In a directory the file is named by the account."""
    emulator = Emulator()
    delivered(emulator, [1])
    account = {"apikey": "demo-key"} if by == "apikey" else {"login": "demo", "password": "demo"}

    async def main(url: str) -> None:
        share = tmp_path if is_folder else tmp_path / "a file"
        async with StatusClient(base_url=url, share=share, **account) as client:  # type: ignore[arg-type]  # texts
            assert (await client.check(1, PHONE)).is_delivered
            stats = client.stats()
            assert (stats.shared_by, stats.processes, stats.quarantine_in) == (str(share), 1, 0.0)

    with EmulatorServer(emulator) as server:
        anyio.run(main, server.url)
    (name,) = os.listdir(tmp_path)
    assert (name == "a file") != is_folder
