"""Law 8, in forked processes: what is on its way stays the parent's, and the child begins anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="only where a process can be forked"),
]

PARENT = '''
import asyncio, gc, json, multiprocessing, os, sys, threading, time
from concurrent.futures import ProcessPoolExecutor

import anyio
from smsc_status import Limits, StatusClient
from smsc_status.emulator import Emulator, EmulatorServer

PHONE = "79990000000"
LIMITS = Limits(linger=0.5, margin=0.5)
emulator = Emulator(latency=1.5, enforce=False)  # two processes that know nothing of each other
for k in range(1, 60):
    emulator.world.add(k, PHONE, sent_at=emulator.now() - 3600, life=[(0, 1, 0)])
said = {}


def make_client():
    return StatusClient(apikey="demo-key", base_url=server.url, limits=LIMITS)


def in_child(backend, first):
    """Check two messages with the client of before the fork, and one with a new one."""
    before = client.stats()

    async def main():
        began_at = time.monotonic()
        records = [await client.check(first, PHONE), await client.check(first + 1, PHONE)]
        async with make_client() as another:
            records.append(await another.check(first + 2, PHONE))
        await client.aclose()
        return [record.status for record in records], time.monotonic() - began_at

    statuses, took = anyio.run(main, backend=backend)
    return {"statuses": statuses, "took": took, "before": [before.open_requests, before.waiting, before.tracked]}


def forked(backend, first):
    """What a child says, by `os.fork`; None in the child."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, json.dumps(in_child(backend, first)).encode())
        os.close(writing)
        return None
    os.close(writing)
    with open(reading) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(said)
'''


def run(script: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", PARENT + script],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    said: dict[str, Any] = json.loads(done.stdout)
    return said


POOL = """
async def main():
    global client
    client = make_client()
    tracked = client.track([(50, PHONE)])
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.check(1, PHONE)) for k in range(2)]
        for k in range(2, 7):  # one more than there are slots
            tasks.append(group.create_task(make_client().check(k, PHONE)))
        tracking = group.create_task(anext(tracked))
        await asyncio.sleep(0.7)
        said["open"] = client.stats().open_requests
        began_at = time.monotonic()
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
            said["child"] = await asyncio.get_running_loop().run_in_executor(pool, in_child, "asyncio", 20)
    said["statuses"] = [task.result().status for task in tasks]
    said["tracked"] = tracking.result().status
    said["after"] = (await client.check(7, PHONE)).status
    await client.aclose()


with EmulatorServer(emulator) as server:
    asyncio.run(main())
print(json.dumps(said))
"""


def test_a_pool_s_process_forked_with_requests_open_is_answered() -> None:
    """Also with the client of before the fork. The parent's requests end undisturbed."""
    said = run(POOL)
    assert said["open"] == 4
    assert said["child"]["statuses"] == [1, 1, 1]
    assert said["child"]["before"] == [0, 0, 0]
    assert said["child"]["took"] < 20
    assert said["statuses"] == [1] * 7
    assert (said["tracked"], said["after"]) == (1, 1)


THREAD = """
async def main():
    await client.check(10, PHONE)  # its connection is kept
    said["statuses"] = []

    async def check(k):
        said["statuses"].append((await client.check(k, PHONE)).status)

    async with anyio.create_task_group() as group:
        for k in range(1, 5):
            group.start_soon(check, k)
        await anyio.sleep(0.7)
        is_time.set()
    await check(5)
    await client.aclose()


is_time = threading.Event()
with EmulatorServer(emulator) as server:
    client = make_client()
    thread = threading.Thread(target=anyio.run, args=[main], kwargs={"backend": BACKEND})
    thread.start()
    is_time.wait()
    said["child"] = forked(CHILD, 20)
    if said["child"] is None:
        del client
        gc.collect()
        sys.exit()  # as a script ends, with all destructors
    thread.join()
print(json.dumps(said))
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("child", ["asyncio", "trio"])
def test_a_process_forked_from_another_thread_is_answered(backend: str, child: str) -> None:
    said = run(f"BACKEND, CHILD = {backend!r}, {child!r}\n{THREAD}")
    assert said["child"]["statuses"] == [1, 1, 1]
    assert said["child"]["before"] == [0, 0, 0]
    assert said["statuses"] == [1] * 5
