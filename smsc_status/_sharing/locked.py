"""A file that processes share: it is locked while it is used, and a new one takes its place only when it is complete.

Only for Linux: it needs `flock`, and files that can be replaced while they are open.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from contextlib import suppress
from typing import Final, NamedTuple

from smsc_status import _loops
from smsc_status.errors import ConfigError

_transactions: threading.Lock = threading.Lock()

_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # the last: to open a pipe must not wait


class Busy(Exception):
    """Somebody else has locked the file, or has just replaced it. Try again later."""


class File(NamedTuple):
    """A locked file: its descriptor, and what it was when it was locked."""

    fd: int
    stat: os.stat_result


class locked:  # noqa: N801 (named like `suppress`)
    """A context: the file is open and locked. Nothing waits for the lock, and the block inside must not wait either.

    It is a class because it is entered twice for each request, and a generator takes longer.

    Raises:
        Busy: it can't be locked now.
        ConfigError: it is not a regular file.
        OSError: it can't be opened; a symbolic link is not followed.
    """

    __slots__ = ("_fd", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> File:
        _transactions.acquire()
        try:
            self._fd = os.open(self._path, _FLAGS)
            return File(self._fd, self._lock())
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            if self._fd >= 0:
                # To close it would not be enough if a process that was forked by other means has a copy.
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        finally:
            if self._fd >= 0:
                os.close(self._fd)
            _transactions.release()

    def _lock(self) -> os.stat_result:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy from None
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError("expected a file, got a device, a pipe or the like")
        if not _is_at(self._path, found):
            raise Busy
        return found


def write(fd: int, content: bytes, at: int) -> None:
    """Write all of the content at this offset."""
    while content:
        done = os.pwrite(fd, content, at)
        content, at = content[done:], at + done


def put_file(path: str, content: bytes, *, over: os.stat_result | None) -> os.stat_result:
    """Put a new file at the path, in one step: in the place of the locked file `over`, or where there is none.

    It gets the modes and the group of the file that it replaces. Where there is none, its modes are 0660 if the
    directory is writable for its group and hands the group on (setgid), else 0600, whatever the umask.

    Raises:
        Busy: another file is at the path by now.
        OSError: it can't be written or put there.
    """
    directory, name = os.path.split(path)
    if over is not None:
        _sweep(directory, name)
    new = os.path.join(directory, f".{name}.{os.urandom(4).hex()}.new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _set_modes(fd, directory, over)
        write(fd, content, 0)
        if over is None:
            try:
                os.link(new, path)
            except (FileExistsError, FileNotFoundError):  # the latter: another process has swept the new one away
                raise Busy from None
        elif _is_at(path, over):
            os.rename(new, path)
        else:
            raise Busy
        return os.fstat(fd)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(new)
        os.close(fd)


def _is_at(path: str, found: os.stat_result) -> bool:
    try:
        here = os.lstat(path)
    except FileNotFoundError:
        return False
    return here.st_ino == found.st_ino and here.st_dev == found.st_dev


def _sweep(directory: str, name: str) -> None:
    """Remove what processes have left that were killed while they wrote a new file. Others may do so at the same time.

    Nobody else writes one now, because the caller has locked the present file.
    """
    for other in os.listdir(directory):
        if other.startswith(f".{name}.") and other.endswith(".new"):
            with suppress(OSError):
                os.unlink(os.path.join(directory, other))


def _set_modes(fd: int, directory: str, over: os.stat_result | None) -> None:
    if over is None:
        parent = os.stat(directory).st_mode
        os.fchmod(fd, 0o660 if parent & stat.S_ISGID and parent & stat.S_IWGRP else 0o600)
        return
    if os.geteuid() == 0:
        os.fchown(fd, over.st_uid, over.st_gid)
    elif os.fstat(fd).st_gid != over.st_gid:
        with suppress(PermissionError):  # then its group has no access any more, unless everybody has
            os.fchown(fd, -1, over.st_gid)
    os.fchmod(fd, stat.S_IMODE(over.st_mode))


def _hold() -> None:
    _transactions.acquire()


# No process is forked while a file is locked. The child would hold the lock too, and keep it if the parent is killed.
_loops.at_fork(before=_hold, in_parent=_transactions.release, in_child=_transactions.release)
