"""A small HTTP server, and the pages for the probes of a container: `/healthz` and `/livez`."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from ipaddress import ip_address
from typing import Any

import anyio
import h11
from anyio.abc import SocketStream, TaskStatus

from smsc_status.errors import ConfigError

PATIENCE = 5.0
"""Seconds that a request may take."""

MOST_BYTES = 8_192

Report = Callable[[], tuple[bool, dict[str, Any]]]
"""Says whether all is well, and how things are, ready for JSON."""


Page = Callable[[], tuple[int, str, bytes]]
"""Gives an HTTP status, the type of the content, and the content."""


def address_of(text: str, option: str = "--health") -> tuple[str, int]:
    """The host and the port of `HOST:PORT`, such as `127.0.0.1:8080`.

    Raises:
        ConfigError: it has another form. The error names the option.
    """
    host, _, port = text.rpartition(":")
    with suppress(ValueError):
        host = str(ip_address(host.strip("[]")))
        if 0 <= int(port) < 65_536:
            return host, int(port)
    raise ConfigError(f"{option} {text!r}: expected HOST:PORT with an IP address, such as 127.0.0.1:8080")


def health_pages(report: Report) -> dict[str, Page]:
    """The pages for probes.

    `/livez` is answered with 200 as long as the event loop runs. `/healthz` is answered with 200 if all is well, else
    with 503; its body says how things are.
    """

    def page(*, is_always_well: bool) -> tuple[int, str, bytes]:
        is_well, facts = report()
        return 200 if is_well or is_always_well else 503, "application/json", json.dumps(facts).encode() + b"\n"

    return {"/healthz": partial(page, is_always_well=False), "/livez": partial(page, is_always_well=True)}


@asynccontextmanager
async def answering(address: tuple[str, int], pages: Mapping[str, Page]) -> AsyncGenerator[int, None]:
    """Serve the pages at this address while the block runs; gives the port.

    Raises:
        OSError: the address can't be taken.
    """
    async with anyio.create_task_group() as tasks:
        port: int = await tasks.start(_serve, address, pages)
        yield port
        tasks.cancel_scope.cancel()


async def _serve(address: tuple[str, int], pages: Mapping[str, Page], *, task_status: TaskStatus[int]) -> None:
    host, port = address
    try:
        listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from None
    async with listener:
        task_status.started(listener.extra(anyio.abc.SocketAttribute.local_port))  # noqa: S610 (no Django)
        await listener.serve(lambda stream: _answer(stream, pages))


async def _answer(stream: SocketStream, pages: Mapping[str, Page]) -> None:
    async with stream:
        with anyio.move_on_after(PATIENCE), suppress(h11.RemoteProtocolError, anyio.BrokenResourceError, OSError):
            connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_BYTES)
            request = await _request(stream, connection)
            if request is not None:
                status, content_type, body = _reply(request, pages)
                headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
                reply = h11.Response(status_code=status, headers=[*headers, ("Connection", "close")])
                data = b"" if request.method == b"HEAD" else body
                for event in (reply, h11.Data(data=data), h11.EndOfMessage()):
                    await stream.send(connection.send(event) or b"")


async def _request(stream: SocketStream, connection: h11.Connection) -> h11.Request | None:
    """The request; `None` if the other side goes away before it is complete."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        try:
            data = await stream.receive()
        except anyio.EndOfStream:
            data = b""
        connection.receive_data(data)


def _reply(request: h11.Request, pages: Mapping[str, Page]) -> tuple[int, str, bytes]:
    page = pages.get(request.target.partition(b"?")[0].decode("ascii", "replace"))
    if page is None or request.method not in (b"GET", b"HEAD"):
        error = f"expected GET {' or '.join(pages)}"
        return 404, "application/json", json.dumps({"error": error}).encode() + b"\n"
    return page()
