"""Where an account's log file is, and whether such a file can be used there."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from platformdirs import user_state_path

from smsc_status.errors import ConfigError

NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone",
        "fuse.s3fs", "fuse.sshfs", "glusterfs", "gfs2", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs",
        "pvfs2", "smb3", "smbfs", "virtiofs",
    }
)  # fmt: skip
"""The kinds of file systems that other machines may write to, whose clock is another one."""

_MOUNTS: Final = "/proc/self/mountinfo"
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"


def log_name(*, server: str, login: str | None = None, apikey: str | None = None) -> str:
    """The name of an account's log.

    It gives no secret away: it depends on the server and the login, not on the password. An API key is hashed slowly,
    so that nobody finds it by trying: the first call for a key takes tens of milliseconds and 16 MB, so make it in a
    thread.

    Args:
        server: a text that is the same for all spellings of the server's address.
        login: the account's login; or else
        apikey: its API key.
    """
    return _hash(server, login) if apikey is None else _slow_hash(server, apikey)


def default_directory() -> Path:
    """The directory of the logs on this machine, in the user's state directory. It need not exist yet.

    Raises:
        ConfigError: there is no state directory, because the user has no home.
    """
    try:
        directory = user_state_path("smsc_status")
    except RuntimeError as error:
        raise ConfigError(f"the state directory: {error}") from None
    if not directory.is_absolute():  # so platformdirs says it, if it is not the latest
        raise ConfigError(f"the state directory: expected an absolute path, got {directory}")
    return directory


def make_directory(directory: Path) -> None:
    """Make the default directory, with mode 0700, if it does not exist.

    Raises:
        ConfigError: it can't be made; or it is another user's, or others may write to it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat(follow_symlinks=False)
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror}: expected a directory for the shared log") from None
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{directory}: expected a directory, not a link to one")
    if found.st_uid != os.geteuid():
        raise ConfigError(f"{directory}: it belongs to the user {found.st_uid}: expected {os.geteuid()}")
    if found.st_mode & 0o022:
        raise ConfigError(f"{directory}: its mode is {stat.S_IMODE(found.st_mode):04o}: expected 0700")


def why_not_here(path: str | os.PathLike[str]) -> str | None:
    """Why a log can't be at this path, in words that follow the path; `None` if it can. The directory must exist."""
    reason = _why_not_on_this_system()
    if reason is not None:
        return reason
    directory = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(directory):
        return "its directory does not exist"
    kind = file_system(directory)
    if kind in NETWORK_FILE_SYSTEMS:
        return f"it is on a network file system ({kind}), whose locks and clock other machines do not share"
    return _why_not_writable(path, directory)


def explicit_path(path: str | os.PathLike[str]) -> Path:
    """The path that a user has given, checked. Several users may share it, so its modes are left to them.

    Raises:
        ConfigError: a log can't be there.
    """
    reason = why_not_here(path)
    if reason is not None:
        raise ConfigError(f"{os.fspath(path)}: {reason}: expected a file in a local directory that can be written to")
    return Path(os.path.abspath(path))


def file_system(directory: str) -> str:
    """The kind of the file system that this directory is on, as Linux calls it; an empty text if it does not say."""
    real = os.path.realpath(directory)
    found = longest = ""
    try:
        mounts = Path(_MOUNTS).read_bytes()
    except OSError:
        return ""
    for line in os.fsdecode(mounts).split("\n")[:-1]:
        before, _, after = line.partition(" - ")
        mount = _unescaped(before.split(" ")[4])
        # Of two mounts at the same point the later one hides the other.
        if len(mount) >= len(longest) and (real == mount or real.startswith(mount.rstrip("/") + "/")):
            found, longest = after.split(" ")[0], mount
    return found


def _why_not_on_this_system() -> str | None:
    if sys.platform != "linux":
        return f"a log file needs Linux, and this is {sys.platform}"
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return "this Python has no clock that counts sleep"
    if not os.access(_BOOT_ID, os.R_OK):
        return f"{_BOOT_ID} can't be read"
    return None


def _why_not_writable(path: str | os.PathLike[str], directory: str) -> str | None:
    try:
        os.lstat(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        return f"there can't be such a file ({error.strerror})"
    except ValueError:
        return "there can't be such a file (a NUL character)"
    if os.path.islink(path):
        return "it is a symbolic link"
    if os.path.exists(path) and not os.path.isfile(path):
        return "it is not a file"
    if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
        return "it can't be read and written"
    try:
        # Only a try is sure: root may write where the modes say otherwise, but not on a read-only file system.
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        return f"its directory can't be written to ({error.strerror})"
    return None


def _unescaped(text: str) -> str:
    r"""The text with `\040` and the like as the characters that they stand for."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _hash(server: str, login: str | None) -> str:
    return hashlib.sha256(f"{server}\0login\0{login}".encode()).hexdigest()[:32]


@functools.cache
def _slow_hash(server: str, apikey: str) -> str:
    key = hashlib.scrypt(apikey.encode(), salt=f"{server}\0apikey".encode(), n=2**14, r=8, p=1, dklen=16)
    return key.hex()
