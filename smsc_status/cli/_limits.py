"""The command `limits`: shows how the account stands, and forgets it."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import attrs
import typer

from smsc_status._runtime.sharing import NotShared, SharedLog
from smsc_status._sharing.report import AccountState, ProcessState, read_state
from smsc_status.errors import ConfigError

NOT_SHARED = "each process keeps the limits by itself, so there is nothing to show"
QUESTION = (
    "The requests of the last minute will be forgotten, so the next ones may break the vendor's limits. Processes at "
    "work will send nothing for about two minutes. Forget them?"
)


def state_of(log: SharedLog) -> AccountState:
    """Read the log, without a part in the account.

    Raises:
        LimiterUnavailable: the log can't be reached.
        ConfigError: it is not such a log, or one of another version.
    """

    async def read() -> AccountState:
        store = await log.open_store()
        try:
            return await read_state(store)
        finally:
            await store.aclose()

    return anyio.run(read)


def forget(log: SharedLog, *, is_sure: bool) -> None:
    """Delete the log. The user is asked on the terminal before, unless he `is_sure`.

    Raises:
        ConfigError: there is nobody to ask, or it is not such a log.
        LimiterUnavailable: the log can't be reached.
    """
    if not is_sure:
        if not sys.stdin.isatty():
            raise ConfigError("--forget: expected --yes with it, as there is no terminal to ask on")
        typer.confirm(QUESTION, abort=True, err=True)

    async def delete() -> None:
        store = await log.open_store()
        try:
            await store.forget()
        finally:
            await store.aclose()

    anyio.run(delete)


def as_row(state: AccountState | NotShared) -> dict[str, Any]:
    """The state by name, ready for JSON. If nothing is shared, only `shared_by` and `reason` are not `null`."""
    if isinstance(state, NotShared):
        names = [field.name for field in attrs.fields(AccountState) if field.name not in ("where", "no_log")]
        return {"shared_by": "process", "reason": state.reason or NOT_SHARED, **dict.fromkeys(names)}
    row = attrs.asdict(state)
    return {"shared_by": row.pop("where"), "reason": row.pop("no_log"), **row}


def lines(state: AccountState | NotShared) -> list[str]:
    """The state for people."""
    if isinstance(state, NotShared):
        return [f"nothing is shared: {state.reason or NOT_SHARED}"]
    shown = [_line("log", state.where)]
    if state.no_log is not None:
        shown.append(_line("", f"no log to read: {state.no_log.removeprefix(f'{state.where}: ')}"))
        if state.quarantine_in:
            begins = f"the next request begins a new log, and nothing is sent for {state.quarantine_in:.1f} s then"
            shown.append(_line("quarantine", begins))
        return shown
    shown.append(_line("processes", str(len(state.processes))))
    shown += [_line("", _shown(process)) for process in state.processes]
    shown.append(_line("free slots", f"{state.free_slots} of {state.limits.connections}"))
    shown.append(_line("bulk request", f"in {state.bulk_slot_in:.1f} s" if state.bulk_slot_in else "now"))
    shown.append(_line("ids", f"{state.ids_remembered} asked lately"))
    if state.quarantine_in:
        shown.append(_line("quarantine", f"nothing is sent for {state.quarantine_in:.1f} s, because the log is new"))
    return shown


def _line(name: str, value: str) -> str:
    return f"{name:<13} {value}"


def _shown(process: ProcessState) -> str:
    ago = process.last_request_ago
    last = "no request yet" if ago is None else f"last request {ago:.0f} s ago"
    return f"{process.name}: {process.open_requests} open, {last}"
