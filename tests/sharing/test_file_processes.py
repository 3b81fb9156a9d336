"""The log in a file, used by several real processes: killed, stopped, forked, or all at once."""

# ruff: noqa: ASYNC240 (the tests look at small local files)

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from smsc_status._sharing.file import FileStore
from smsc_status._sharing.layout import HEADER_BYTES, START, Header
from smsc_status.errors import LimiterUnavailable

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
BEGINNING = """
import json, os, signal, sys, threading, time
import anyio
from smsc_status._sharing import file as file_module
from smsc_status._sharing import locked as locked_module
from smsc_status._sharing.file import FileStore

path, *arguments = sys.argv[1:]
"""


def start(code: str, path: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BEGINNING + code, str(path), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def is_killed(process: subprocess.Popen[str]) -> bool:
    with process:
        return process.wait(60) == -signal.SIGKILL


def said(process: subprocess.Popen[str]) -> Any:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(output)


APPEND = """
async def main(name, count, size):
    store, log, number, mine = FileStore(path), "", 0, []
    while len(mine) < count:
        data = f"{name}{len(mine):04d}".encode().ljust(size, b".")
        tail = await store.append(data, log=log, after=number)
        numbers = [entry.number for entry in tail.entries]
        if tail.is_whole:
            log = tail.log
        else:
            assert numbers == list(range(number + 1, number + 1 + len(numbers))), (number, numbers)
        number = numbers[-1] if numbers else number
        if tail.is_appended:
            mine.append(number)
        else:
            await anyio.sleep(0)
    print(json.dumps(mine))

anyio.run(main, arguments[0], int(arguments[1]), int(arguments[2]), backend=arguments[3])
"""


async def test_the_entries_of_four_processes_are_all_there_in_one_order(
    tmp_path: Path, anyio_backend_name: str
) -> None:
    """All entries are there, without a gap, in the order of their stamps, each writer's own in its own order."""
    path = tmp_path / "account.log"
    await FileStore(path).begin([b"begun"], instead_of="")
    processes = [start(APPEND, path, name, 500, 10, anyio_backend_name) for name in "abcd"]
    numbers = {name: said(process) for name, process in zip("abcd", processes, strict=True)}
    entries = (await FileStore(path).append(None, log="", after=0)).entries
    assert [entry.number for entry in entries] == list(range(1, 2002))
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    for name, mine in numbers.items():
        assert [entries[number - 1].data for number in mine] == [f"{name}{k:04d}.....".encode() for k in range(500)]


async def test_old_entries_are_dropped_beside_processes_that_append(tmp_path: Path) -> None:
    path = tmp_path / "account.log"
    store = FileStore(path)
    log = (await store.begin([b"begun"], instead_of="")).log
    processes = [start(APPEND, path, name, 500, 1000, "asyncio") for name in "abc"]
    number = 1
    while any(process.poll() is None for process in processes):
        with suppress(LimiterUnavailable):  # in virtual time, the seconds are over at once for which it is locked
            tail = await store.append(None, log=log, after=number)
            assert not tail.is_whole
            number += len(tail.entries)
            await store.drop(log=log, before=number - 10)
        time.sleep(0.002)  # noqa: ASYNC251 (real time: the others work meanwhile)
    for process in processes:
        assert len(said(process)) == 500
    await store.drop(log=log, before=10_000)
    header = Header.of(path.read_bytes()[:HEADER_BYTES])
    assert header.generation >= 2
    tail = await FileStore(path).append(None, log="", after=0)
    assert tail.log == log
    assert tail.entries[-1].number == 1501


BEGIN = """
began_at, rounds = float(arguments[0]), int(arguments[1])

async def main():
    logs = []
    for k in range(rounds):
        while time.time() < began_at + 0.02 * k:
            pass
        tail = await FileStore(f"{path}-{k}").begin([str(os.getpid()).encode()], instead_of="")
        logs.append([tail.log, [entry.data.decode() for entry in tail.entries]])
    print(json.dumps(logs))

anyio.run(main)
"""


@pytest.mark.parametrize("is_damaged", [False, True], ids=["no file", "a damaged file"])
async def test_processes_that_begin_at_once_get_one_log(tmp_path: Path, is_damaged: bool) -> None:
    """All get the log of the one that was first, and never a part of it."""
    path = tmp_path / "account.log"
    rounds = 40
    if is_damaged:
        await FileStore(path).begin([b"old"], instead_of="")
        raw = path.read_bytes()
        path.unlink()
        for k in range(rounds):
            Path(f"{path}-{k}").write_bytes(raw[:-1])
    began_at = time.time() + 2.5
    processes = [start(BEGIN, path, began_at, rounds) for _ in range(3)]
    first, *others = [said(process) for process in processes]
    assert others == [first, first]
    assert sorted(os.listdir(tmp_path)) == sorted(f"account.log-{k}" for k in range(rounds))


KILLED = """
pwrite, calls = os.pwrite, []
die_at, part = int(arguments[2]), int(arguments[3])

def until_killed(fd, content, at):
    calls.append(at)
    if len(calls) == die_at:
        pwrite(fd, content[:part], at)
        os.kill(os.getpid(), signal.SIGKILL)
    return pwrite(fd, content, at)

async def main():
    store = FileStore(path)
    os.pwrite = until_killed
    if arguments[1] == "append":
        await store.append(b"theirs", log=arguments[0], after=1)
    else:
        await store.begin([b"theirs"], instead_of=arguments[0])

anyio.run(main)
"""


@pytest.mark.parametrize(
    ("die_at", "part", "left"),
    [
        pytest.param(1, 0, 0, id="before the data"),
        pytest.param(1, 9, 9, id="in the data"),
        pytest.param(1, 22, 22, id="after the data"),
        pytest.param(2, 0, 22, id="before the commit"),
        pytest.param(2, 16, None, id="after the commit"),
    ],
)
async def test_an_append_that_is_killed_counts_wholly_or_not_at_all(
    tmp_path: Path, die_at: int, part: int, left: int | None
) -> None:
    path = tmp_path / "account.log"
    store = FileStore(path)
    log = (await store.begin([b"one"], instead_of="")).log
    size = path.stat().st_size
    assert is_killed(start(KILLED, path, log, "append", die_at, part))
    tail = await store.append(b"mine", log=log, after=1)
    assert tail.is_appended == (left is not None)
    assert [entry.data for entry in tail.entries] == [b"theirs" if left is None else b"mine"]
    whole = await FileStore(path).append(None, log="", after=0)
    assert [entry.data for entry in whole.entries] == [b"one", tail.entries[0].data]
    assert path.stat().st_size == size + 16 + len(tail.entries[0].data)


async def test_a_beginning_that_is_killed_leaves_the_old_log(tmp_path: Path) -> None:
    path = tmp_path / "account.log"
    store = FileStore(path)
    log = (await store.begin([b"one"], instead_of="")).log
    assert is_killed(start(KILLED, path, log, "begin", 1, START + 5))
    assert len(os.listdir(tmp_path)) == 2
    assert (await store.append(b"two", log=log, after=1)).is_appended
    await store.begin([b"new"], instead_of=log)
    assert os.listdir(tmp_path) == [path.name]


STOPPED = """
with locked_module.locked(path):
    os.kill(os.getpid(), signal.SIGSTOP)
print(json.dumps("continued"))
"""


async def test_a_stopped_process_that_has_the_lock_holds_up_nothing_but_the_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each 0.1 s a tick is counted meanwhile, in virtual time. Once the process goes on, so does the call."""
    path = tmp_path / "account.log"
    store = FileStore(path)
    log = (await store.begin([b"one"], instead_of="")).log
    process = start(STOPPED, path)
    _, status = os.waitpid(process.pid, os.WUNTRACED)  # noqa: ASYNC222 (it stops by itself)
    assert os.WIFSTOPPED(status)
    try:
        with anyio.move_on_after(1) as scope:
            await store.append(b"never", log=log, after=1)
        assert scope.cancelled_caught
        done = []

        async def append() -> None:
            done.append(await store.append(b"two", log=log, after=1))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(append)
            for _ in range(25):
                await anyio.sleep(0.1)
            assert not done
            assert str(path) in caplog.text
            os.kill(process.pid, signal.SIGCONT)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert done[0].is_appended
    assert said(process) == "continued"


FORKED = """
is_inside, has_ended = threading.Event(), []
write = locked_module.write

def slow(fd, content, at):
    is_inside.set()
    time.sleep(0.1)
    write(fd, content, at)

async def append():
    file_module.write = slow
    await store.append(b"two", log=log, after=1)

async def begin():
    return (await store.begin([b"one"], instead_of="")).log

def transact():
    anyio.run(append)
    has_ended.append(True)

store = FileStore(path)
log = anyio.run(begin)
thread = threading.Thread(target=transact)
thread.start()
is_inside.wait()
pid = os.fork()
if pid == 0:
    is_open = any(os.path.realpath(f"/proc/self/fd/{fd}") == path for fd in os.listdir("/proc/self/fd"))
    async def use():
        file_module.write = write
        return (await FileStore(path).append(b"three", log=log, after=2)).is_appended
    os._exit(is_open or not anyio.run(use))
_, status = os.waitpid(pid, 0)
thread.join()
print(json.dumps(os.waitstatus_to_exitcode(status)))
"""


async def test_no_process_is_forked_while_another_thread_has_the_lock(tmp_path: Path) -> None:
    """So the child has no copy of the open file, and can use the log itself."""
    assert said(start(FORKED, tmp_path / "account.log")) == 0
