"""Chooses a client's limiter, by who shares the account with it."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

import anyio.to_thread
import attrs

from smsc_status._runtime.account import Account, Secret
from smsc_status._sharing import places
from smsc_status._sharing.file import FileStore
from smsc_status._sharing.limiter import SharedLimiter
from smsc_status._sharing.redis_url import Address, parse_url
from smsc_status._sharing.replica import OpenStore
from smsc_status._sharing.store import Store
from smsc_status.errors import ConfigError
from smsc_status.limiter import Limiter, LocalLimiter, shared
from smsc_status.models import Limits

PROCESS, MACHINE = "process", "machine"
EXPECTED = f"expected {PROCESS!r}, {MACHINE!r}, a path with a '/', or a URL such as 'redis://host'"
DEFAULT = MACHINE

logger = logging.getLogger("smsc_status")

# By account and share: the limiter of all this process's clients.
_shared_limiters: WeakValueDictionary[tuple[str, str], SharedLimiter] = WeakValueDictionary()
_warnings: set[str] = set()


@attrs.frozen
class SharedLog:
    """An account's log: where it is, for people and without secrets, and what opens it for an event loop."""

    where: str
    open_store: OpenStore


@attrs.frozen
class NotShared:
    """Each process keeps the limits by itself. `reason` says why, if it was not asked for."""

    reason: str = ""


def limiter_for(
    account: Account, limits: Limits, share: str | os.PathLike[str] | Secret | None, *, has_transport: bool
) -> Limiter:
    """The limiter of a client of this account.

    Args:
        account: the account.
        limits: the limits to keep.
        share: who shares the account (a URL as a `Secret`); `None` if the user does not say. Then the processes of this
            machine share it, unless its server is on the loopback or the client brings a transport. There it is
            probably an emulator, which forgets the last minute when it is started again.
        has_transport: whether the client brings a transport. Without a `share` it then has a limiter of its own.

    Raises:
        ConfigError: a `share` that can't be used, or other limits than another client's in this process.
    """
    if share is None and has_transport:
        return LocalLimiter(limits)
    log = log_of(account, share, margin=limits.margin)
    if isinstance(log, SharedLog):
        return _limiter(account, limits, log)
    if log.reason:
        _warn_once(f"this process does not share the account's limits with others of this machine: {log.reason}")
    return shared(account.name, limits)


def log_of(account: Account, share: str | os.PathLike[str] | Secret | None, *, margin: float) -> SharedLog | NotShared:
    """The log that the processes of this account share. Nothing is read or written yet.

    Args:
        account: the account.
        share: as for `limiter_for`.
        margin: the margin of the limits, in seconds.

    Raises:
        ConfigError: a `share` that can't be used.
    """
    if share is None:
        share = PROCESS if account.is_on_loopback else DEFAULT
    if isinstance(share, Secret):
        return _log_in_redis(account, share, margin)
    text = os.fspath(share) if isinstance(share, str | os.PathLike) else None
    if not isinstance(text, str):  # a path may consist of bytes
        raise ConfigError(f"share {share!r}: {EXPECTED}")
    if text == PROCESS:
        return NotShared()
    if text == MACHINE:
        return _log_of_machine(account)
    if isinstance(share, str) and os.sep not in share:
        raise ConfigError(f"share {share!r}: {EXPECTED}")
    return _log_at(account, text)


def _log_of_machine(account: Account) -> SharedLog | NotShared:
    try:
        folder = places.default_directory()
        places.make_directory(folder)
    except ConfigError as error:
        return NotShared(str(error))
    reason = places.why_not_here(folder / "log")
    if reason is not None:
        return NotShared(f"{folder}: {reason}")
    return SharedLog(str(folder), partial(_open_in, folder, account))


def _warn_once(text: str) -> None:
    if text not in _warnings:
        _warnings.add(text)
        logger.warning("%s", text)


def _log_at(account: Account, text: str) -> SharedLog:
    """A log at that path. If it is a directory, one there that is named by the account."""
    is_folder = os.path.isdir(text)  # `Path.is_dir` raises for a name that is too long or holds a NUL
    if text.endswith(os.sep) and not is_folder:  # otherwise a file would be made in the directory's place
        raise ConfigError(
            f"{text}: there is no such directory: expected one, or a file's path without a final {os.sep}"
        )
    path = places.explicit_path(Path(text, "log") if is_folder else text)
    open_store = partial(_open_in, path.parent, account) if is_folder else partial(_open_file, path)
    return SharedLog(str(path.parent if is_folder else path), open_store)


def _log_in_redis(account: Account, url: Secret, margin: float) -> SharedLog:
    from smsc_status._sharing.redis import RedisStore, connection_class  # noqa: PLC0415 (only where a URL is used)

    address = _address(url)
    connection_class()  # an error now, and not with the first request, if the extra is not installed

    async def open_store() -> Store:
        return RedisStore(address, await _log_name(account), tolerance=min(0.5, margin / 2))

    return SharedLog(address.where, open_store)


def _address(url: Secret) -> Address:
    try:
        return parse_url(url.reveal())
    except ConfigError as error:
        problem = str(error)
    # Raised here, so that it is not chained to an error whose frames hold the password.
    raise ConfigError(problem)


def _limiter(account: Account, limits: Limits, log: SharedLog) -> SharedLimiter:
    key = account.name, log.where
    limiter = _shared_limiters.get(key)
    if limiter is None:
        # Two threads may both make one. Then both share the account by its log.
        limiter = _shared_limiters[key] = SharedLimiter(limits, log.open_store, where=log.where)
    if limiter.limits != limits:
        raise ConfigError(f"limits {limits!r}: this account is in use in this process with {limiter.limits!r}")
    return limiter


async def _open_in(folder: Path, account: Account) -> Store:
    return FileStore(folder / f"{await _log_name(account)}.log")


async def _open_file(path: Path) -> Store:
    return FileStore(path)


async def _log_name(account: Account) -> str:
    named_by = {name: account.credentials[name].reveal() for name in ("login", "apikey") if name in account.credentials}
    name = partial(places.log_name, server=account.server, **named_by)
    return await anyio.to_thread.run_sync(name) if "apikey" in named_by else name()
