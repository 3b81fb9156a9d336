"""Where the log file is, and which places are refused."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from smsc_status import ConfigError
from smsc_status._sharing import places


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "smsc_status"


# The default place.


def test_the_name_depends_on_server_and_login() -> None:
    name = places.log_name(server="smsc.ru:", login="me")
    assert re.fullmatch(r"[0-9a-f]{32}", name)
    assert name == places.log_name(server="smsc.ru:", login="me")
    others = {
        places.log_name(server="smsc.kz:", login="me"),
        places.log_name(server="smsc.ru:", login="you"),
        places.log_name(server="smsc.ru:", apikey="me"),
        places.log_name(server="smsc.kz:", apikey="me"),
        places.log_name(server="smsc.ru:", apikey="you"),
    }
    assert len(others | {name}) == 6


def test_an_api_key_is_hashed_slowly_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    scrypt = hashlib.scrypt

    def counted(key: bytes, **how: Any) -> bytes:
        calls.append(how)
        return scrypt(key, **how)

    monkeypatch.setattr(hashlib, "scrypt", counted)
    name = places.log_name(server="slow:", apikey="a key")
    assert places.log_name(server="slow:", apikey="a key") == name
    assert [(how["n"], how["r"], how["p"]) for how in calls] == [(2**14, 8, 1)]
    assert re.fullmatch(r"[0-9a-f]{32}", name)


def test_the_default_place_is_in_the_user_s_state(state: Path) -> None:
    assert places.default_directory() == state


def no_home(name: str) -> NoReturn:
    raise RuntimeError("could not determine the home directory")


@pytest.mark.parametrize("user_state_path", [no_home, lambda name: Path("~/.local/state")])
def test_a_user_without_a_home_has_no_default_place(monkeypatch: pytest.MonkeyPatch, user_state_path: object) -> None:
    monkeypatch.setattr(places, "user_state_path", user_state_path)
    with pytest.raises(ConfigError, match="the state directory: "):
        places.default_directory()


def test_the_default_directory_is_its_owner_s_alone(state: Path) -> None:
    places.make_directory(state)
    places.make_directory(state)
    assert state.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_default_directory_that_others_may_write_to_is_refused(state: Path, mode: int) -> None:
    state.mkdir(parents=True)
    state.chmod(mode)
    with pytest.raises(ConfigError, match=f"{state}: its mode is {mode:04o}: expected 0700"):
        places.make_directory(state)


def test_another_user_s_default_directory_is_refused(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places.make_directory(state)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(ConfigError, match=r"belongs to the user [0-9]+: expected 54321"):
        places.make_directory(state)


def test_a_default_directory_behind_a_link_is_refused(state: Path, tmp_path: Path) -> None:
    state.parent.mkdir()
    state.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="not a link"):
        places.make_directory(state)


def test_a_default_directory_that_can_not_be_made_is_named() -> None:
    with pytest.raises(ConfigError, match="/proc/nothing/below: "):
        places.make_directory(Path("/proc/nothing/below"))


# Whether a log can be there.


def test_a_local_directory_will_do(tmp_path: Path) -> None:
    path = tmp_path / "account.log"
    assert places.why_not_here(path) is None
    path.touch(mode=0o666)
    assert places.explicit_path(str(path)) == path
    assert os.listdir(tmp_path) == [path.name]


def test_an_explicit_path_may_be_wider_and_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o2777)
    monkeypatch.chdir(tmp_path)
    assert places.explicit_path("account.log") == tmp_path / "account.log"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none/account.log", "its directory does not exist"),
        ("link", "it is a symbolic link"),
        ("directory", "it is not a file"),
        ("pipe", "it is not a file"),
        ("n" * 256, "there can't be such a file (File name too long)"),
        ("a\0b", "there can't be such a file (a NUL character)"),
    ],
)
def test_what_is_no_place_for_a_file_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "link").symlink_to("account.log")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert places.why_not_here(tmp_path / name) == reason
    with pytest.raises(ConfigError, match=re.escape(f": {reason}: expected a file")):
        places.explicit_path(tmp_path / name)


def test_a_file_of_others_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "account.log"
    path.touch()
    monkeypatch.setattr(os, "access", lambda name, mode: name != path)
    assert places.why_not_here(path) == "it can't be read and written"


def test_a_directory_that_can_not_be_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "can't be written to" in (places.why_not_here("/proc/self/account.log") or "")

    def read_only(dir: str) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    assert places.why_not_here(tmp_path / "x") == "its directory can't be written to (Read-only file system)"


def test_another_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "account.log"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        assert "darwin" in (places.why_not_here(path) or "")
    with monkeypatch.context() as patch:
        patch.delattr(time, "CLOCK_BOOTTIME")
        assert "clock" in (places.why_not_here(path) or "")
    with monkeypatch.context() as patch:
        patch.setattr(places, "_BOOT_ID", "/proc/none")
        assert places.why_not_here(path) == "/proc/none can't be read"


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 30 0:31 / /srv/my\\040files rw shared:2 master:3 - {kind} server:/files rw
30 22 0:30 / /srv rw shared:1 - {outer} server:/srv rw
32 30 0:32 / /srv/twice rw - tmpfs tmpfs rw
33 32 0:33 / /srv/twice rw - {kind} server:/twice rw
"""


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTS.format(outer="xfs", kind="nfs4"))
    monkeypatch.setattr(places, "_MOUNTS", str(file))
    return file


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/", "ext4"),
        ("/home/me", "ext4"),
        ("/srv", "xfs"),
        ("/srv/other", "xfs"),
        ("/srvother", "ext4"),
        ("/srv/my files", "nfs4"),
        ("/srv/my files/below", "nfs4"),
        ("/srv/my files below", "xfs"),
        ("/srv/twice/below", "nfs4"),
    ],
)
def test_the_longest_mount_point_tells_the_file_system(mounts: Path, directory: str, kind: str) -> None:
    assert places.file_system(directory) == kind


def test_a_system_that_does_not_say_its_mounts_is_taken_as_local(tmp_path: Path, mounts: Path) -> None:
    mounts.unlink()
    assert places.file_system("/srv") == ""
    assert places.why_not_here(tmp_path / "account.log") is None


@pytest.mark.parametrize(
    "kind",
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs", "lustre", "afs", "virtiofs"],
)
def test_a_network_file_system_is_refused(tmp_path: Path, mounts: Path, kind: str) -> None:
    shared = tmp_path / "my files"
    shared.mkdir()
    where = str(shared).replace(" ", "\\040")
    mounts.write_text(f"22 1 254:0 / / rw - ext4 /dev/vda rw\n31 22 0:31 / {where} rw - {kind} server:/ rw\n")
    assert f"network file system ({kind})" in (places.why_not_here(shared / "account.log") or "")
    link = tmp_path / "link"
    link.symlink_to(shared)
    with pytest.raises(ConfigError, match="network file system"):
        places.explicit_path(link / "account.log")
    assert places.why_not_here(tmp_path / "account.log") is None
