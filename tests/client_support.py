"""What the tests of the client share."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import anyio
from helpers import Answering

from smsc_status import SmscError

DELIVERED = b'{"status": 1, "last_date": "01.01.2026 10:00:00", "last_timestamp": 1767250800, "flag": 0}'


def sent(transport: Answering, number: int = -1) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(transport.requests[number].content.decode()).items()}


async def gather(*calls: Any) -> list[Any]:
    results: list[Any] = [None] * len(calls)

    async def run(n: int, call: Any) -> None:
        try:
            results[n] = await call
        except SmscError as error:
            results[n] = error

    async with anyio.create_task_group() as group:
        for n, call in enumerate(calls):
            group.start_soon(run, n, call)
    return results
