"""What `check` and `delete` do: one request, and a line on standard error if it has to wait."""

from __future__ import annotations

from time import monotonic

from smsc_status.cli._exits import print_on_stderr
from smsc_status.cli._meters import quarantine_note, ticking
from smsc_status.client import StatusClient
from smsc_status.errors import LimitExceeded, ProtocolError, TransportError
from smsc_status.models import Detail, StatusRecord

SILENT_SECONDS = 1.0
"""A command that waits longer says so."""


async def check(client: StatusClient, id: str, phone: str, *, detail: Detail, max_wait: float | None) -> StatusRecord:
    """The message's record. If the limits do not allow the request soon, a line says when they do.

    Raises:
        SmscError: as from `StatusClient.check`. If the limiter can't be reached, this does not wait for it.
    """
    began_at = monotonic()
    try:
        return await client.check(
            id, phone, detail=detail, max_wait=SILENT_SECONDS if max_wait is None else min(SILENT_SECONDS, max_wait)
        )
    except LimitExceeded as error:
        quarantine_in = client.stats().quarantine_in
        if quarantine_in:
            print_on_stderr(quarantine_note(quarantine_in))
        if max_wait is not None and max_wait <= max(SILENT_SECONDS, error.retry_after):
            raise
        if not quarantine_in:
            print_on_stderr(f"waiting: the limits allow this check in {error.retry_after:.0f} s")
    except (TransportError, ProtocolError):
        if max_wait is not None and max_wait <= SILENT_SECONDS:
            raise
        # There was no time for another try.
    left = None if max_wait is None else max(0.0, max_wait - (monotonic() - began_at))
    return await client.check(id, phone, detail=detail, max_wait=left)


async def delete(client: StatusClient, id: str, phone: str) -> None:
    """Delete the message. If the limits do not allow the request soon, a line says so.

    Raises:
        SmscError: as from `StatusClient.delete`.
    """
    say_at = monotonic() + SILENT_SECONDS

    def tick() -> None:
        nonlocal say_at
        if monotonic() >= say_at and not client.stats().requests["delete"]:
            say_at = float("inf")
            print_on_stderr("waiting: the limits do not allow the deletion yet")

    async with ticking(tick):
        await client.delete(id, phone)
