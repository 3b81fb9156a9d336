"""The command line as a user runs it, but in this process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock
from weakref import WeakValueDictionary

import anyio
import attrs

from smsc_status import limiter
from smsc_status._runtime import sharing
from smsc_status.cli import main
from smsc_status.cli._demo_messages import RecordingWorld
from smsc_status.emulator import Emulator, EmulatorServer
from smsc_status.models import MessageRef, StatusRecord

ROOT = Path(__file__).parents[2]
START = "import sys; from smsc_status.cli import main; sys.exit(main())"

SPEED = 60.0
FAST = ("--period", "1", "--margin", "0.05")
"""The limits of a server at that speed."""

SECRETS = ("demo-key", "s3cret-key", "s3cret-password")


class Stream(io.TextIOWrapper):
    """A standard stream that may say that it is a terminal."""

    def __init__(self, content: bytes = b"", *, is_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8", write_through=True)
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal

    def text(self) -> str:
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


@attrs.frozen
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


def run(
    *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, terminals: tuple[str, ...] = ()
) -> Ended:
    """Run a command; `terminals` are the streams (`stdin`, `stdout`, `stderr`) that are one."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SMSC_")}
    streams = {
        name: Stream(stdin if name == "stdin" else b"", is_terminal=name in terminals)
        for name in ("stdin", "stdout", "stderr")
    }
    with ExitStack() as stack:
        env = {**inherited, "COLUMNS": "200", **(env or {})}
        stack.enter_context(mock.patch.dict(os.environ, env, clear=True))
        stack.enter_context(mock.patch.object(sys, "argv", ["smsc-status", *arguments]))
        stack.enter_context(mock.patch.object(anyio, "run", _run_aside))
        # A command of its own process finds no limiter of another one there.
        stack.enter_context(mock.patch.object(limiter, "_shared", WeakValueDictionary()))
        stack.enter_context(mock.patch.object(sharing, "_shared_limiters", WeakValueDictionary()))
        for name, stream in streams.items():
            stack.enter_context(mock.patch.object(sys, name, stream))
        status = main()
    ended = Ended(status, streams["stdout"].text(), streams["stderr"].text())
    for secret in SECRETS:
        assert secret not in ended.err
        assert secret not in ended.out or arguments[0] == "emulator"
    assert "Traceback" not in ended.err
    return ended


_run = anyio.run


def _run_aside(function: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
    """In a thread of its own: on Python 3.11 a cancellation makes coverage miss lines in the frames around the loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_run, function, *arguments).result()


def account_of(server: EmulatorServer) -> dict[str, str]:
    return {"SMSC_BASE_URL": server.url, "SMSC_APIKEY": "demo-key"}


@contextmanager
def serving(*, messages: int = 0, **emulator: object) -> Iterator[EmulatorServer]:
    """A server of messages 1, 2, …, sent within the last hour."""
    app = Emulator(RecordingWorld(1), speed=SPEED, **emulator)  # type: ignore[arg-type]  # as the caller says
    app.world.populate(messages, now=app.now(), spread=3600)
    with EmulatorServer(app) as server:
        yield server


def csv_of(server: EmulatorServer) -> str:
    return "id,phone\n" + "".join(f"{ref.id},{ref.phone}\n" for ref in server.emulator.world)


def was_said(server: EmulatorServer, row: Mapping[str, Any]) -> bool:
    """Whether the server gave that status and error of that message."""
    world = server.emulator.world
    assert isinstance(world, RecordingWorld)
    status, err = int(row["status"]), row["err"]
    ref = MessageRef(row["id"], row["phone"])
    return world.has_given(StatusRecord(ref=ref, status=status, err=None if err in (None, "") else int(err)))


def start(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """Run a command in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SMSC_")}
    env = {**inherited, "PYTHONPATH": str(ROOT), **(env or {})}
    command = [sys.executable, "-c", START, *arguments]
    return subprocess.Popen(command, env=env, text=True, stdin=stdin, stdout=stdout, stderr=stderr)
