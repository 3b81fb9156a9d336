"""The client against a server in another process, over real sockets, in real time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from urllib.request import urlopen

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from smsc_status import Limits, StatusClient, StatusRecord

pytestmark = pytest.mark.slow

SPEED = 60
MESSAGES = 1500
SERVER = f"""
from smsc_status.emulator import Emulator, serve
emulator = Emulator(speed={SPEED}, latency=0.005)
sent_at = emulator.now() - 3600
for k in range(1, {MESSAGES} + 1):
    emulator.world.add(k, "79990000000", sent_at=sent_at, life=[(0, 1, 0)])
serve(emulator, port=0, started=lambda url: print(getattr(url, "url", url), flush=True))
"""


@pytest.fixture
def url() -> Iterator[str]:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_at_most_four_connections_are_used_and_no_limit_is_broken(url: str, backend: str) -> None:
    """As counted by the server, idle connections included."""
    results: list[object] = []

    async def main() -> None:
        limits = Limits(period=60 / SPEED, margin=0.1, linger=0.5, max_bulk=200)
        async with StatusClient(login="demo", password="demo", base_url=url, limits=limits) as client:
            async with anyio.create_task_group() as group:
                for k in range(1, 21):
                    group.start_soon(client.check, k, "79990000000")
                results.extend([o async for o in client.stream((k, "79990000000") for k in range(1, MESSAGES + 1))])
            results.append(client.stats())

    anyio.run(main, backend=backend)
    with urlopen(f"{url}/emulator/stats") as reply:  # a connection of its own, after the others
        seen = json.load(reply)
    assert len(results) == MESSAGES + 1
    assert all(isinstance(result, StatusRecord) for result in results[:-1])
    assert seen["refusals"] == {"connections": 0, "bulk_requests": 0, "checks_per_id": 0}
    assert seen["requests"]["bulk"] >= 2
    assert 2 <= seen["peak_open"] <= 4
    assert seen["connections"]["peak"] <= 4


@pytest.mark.anyio
async def test_the_environment_s_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for the whole URL, mirrors and all share its connections."""
    asked: list[bytes] = []

    async def answer(connection: SocketStream) -> None:
        async with connection:
            request = b""
            while b"apikey=" not in request:
                request += await connection.receive()
            asked.append(request.partition(b"\r\n")[0])
            await connection.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n" + b'{"status": 1}'
            )

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        port = listener.extra(SocketAttribute.local_port)
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        client = StatusClient(
            apikey="k", base_url="http://smsc.example", mirrors=["http://mirror.example"], allow_http=True
        )
        async with client:
            assert (await client.check(1, "79990000000")).status == 1
        group.cancel_scope.cancel()
    assert asked == [b"POST http://smsc.example/sys/status.php HTTP/1.1"]
