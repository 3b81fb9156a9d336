"""What the tests of the engine share."""

from __future__ import annotations

from typing import Any

from smsc_status import SmscError

DELIVERED = b'{"status": 1}'


async def note(into: list[Any], call: Any) -> None:
    try:
        into.append(await call)
    except SmscError as error:
        into.append(error)
