"""A server that answers at once, in a process of its own, so that its time does not count as the client's.

It reads only the HTTP that the benchmarks' clients write. It answers a single check with bytes made beforehand; only a
bulk reply is put together from what was asked. `python -m benchmarks.answering [DELAY]` prints its port, and stops when
its standard input is closed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from urllib.parse import parse_qs

RECORD = b'{\n"status": 1,\n"last_date": "25.11.2026 12:00:00",\n"last_timestamp": 1795600800,\n"flag": 0,\n"err": 0'


def reply_to(body: bytes) -> bytes:
    """The body of the reply: "delivered" for each message that was asked."""
    form = parse_qs(body.decode())
    ids, phones = form["id"][0], form["phone"][0]
    if "," not in ids:
        return RECORD + b"\n}"
    asked = [pair for pair in zip(ids.split(","), phones.split(","), strict=True) if pair[0]]
    return (
        b"["
        + b",\n".join(RECORD + b',\n"id": %s,\n"phone": "%s"\n}' % (i.encode(), p.encode()) for i, p in asked)
        + b"]"
    )


def response_to(body: bytes) -> bytes:
    """The whole HTTP response."""
    reply = reply_to(body)
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(reply), reply)


class _Connection(asyncio.Protocol):
    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._read = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        end = self._read.find(b"\r\n\r\n")
        if end < 0:
            return
        length = self._read[:end].lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        size = end + 4 + int(length)
        if len(self._read) < size:
            return
        response = response_to(bytes(self._read[end + 4 : size]))
        del self._read[:size]
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, response)
        else:
            self._transport.write(response)


async def serve(delay: float) -> None:
    """Print the port, and answer until the standard input is closed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()
    server.close()


@contextmanager
def running(delay: float = 0.0) -> Iterator[str]:
    """The URL of such a server, which runs while the `with` block does. It answers after `delay` seconds."""
    command = [sys.executable, "-m", "benchmarks.answering", str(delay)]
    with subprocess.Popen(  # noqa: S603 (this very module)
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.communicate()


if __name__ == "__main__":
    asyncio.run(serve(*map(float, sys.argv[1:])))
