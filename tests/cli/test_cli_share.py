"""Commands that share the account: `--share`, `SMSC_SHARE`, and `limits`, which shows how the account stands."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import anyio
import pytest
from cli_support import Ended, account_of, csv_of, run, serving, start

from smsc_status._core.scheduling.ledger import Quarantine, encode
from smsc_status._runtime import sharing
from smsc_status._sharing import places
from smsc_status._sharing.file import FileStore
from smsc_status._sharing.report import AccountState, ProcessState
from smsc_status.cli import _account, _limits, _meters, _single
from smsc_status.emulator import EmulatorServer
from smsc_status.errors import LimiterUnavailable, LimitExceeded, ProtocolError, RateLimited, SmscError, TransportError
from smsc_status.models import Detail, MessageRef, StatusRecord

RECORD = StatusRecord(status=1, ref=MessageRef(7, "79"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "account.log"


def phone_of(server: EmulatorServer) -> str:
    return next(iter(server.emulator.world)).phone


def started(*arguments: str, env: dict[str, str]) -> Ended:
    """A command in a process of its own, from its start to its end."""
    with start(*arguments, env=env) as process:
        out, err = process.communicate(timeout=30)
    return Ended(process.returncode, out, err)


# Commands one after the other.


@pytest.mark.slow
def test_commands_in_a_row_keep_the_limits_together(log: Path) -> None:
    """Five answer at once. The sixth, in a process of its own too, learns at once how long it would wait.

    With a period of ten minutes it does so however slow the machine is.
    """
    with serving(messages=1) as server:
        check = ("check", "1", phone_of(server), "--period", "600")
        shared = (*check, "--share", str(log))
        first = [started(*shared, env=account_of(server)) for _ in range(3)]
        by_variable = started(*check, env=account_of(server) | {"SMSC_SHARE": str(log)})
        fifth = started(*shared, env=account_of(server))
        sixth = started(*shared, "--max-wait", "100", env=account_of(server))
        other = started("check", "1", phone_of(server), "--share", "process", env=account_of(server))
        shown = started("limits", "--share", str(log), "--json", env=account_of(server))
        requests = server.emulator.referee.requests.total()
    assert [ended.status for ended in (*first, by_variable, fifth, other)] == [0] * 6
    assert not any(ended.err for ended in (*first, by_variable, fifth))
    assert sixth.status == 1
    assert "try again in" in sixth.err
    assert "waiting" not in sixth.err
    assert requests == 6
    processes = json.loads(shown.out)["processes"]
    assert [process["last_request_ago"] is None for process in processes] == [False] * 5 + [True]


@pytest.mark.slow
def test_a_check_that_has_to_wait_says_so_and_goes_on(log: Path) -> None:
    with serving(messages=1) as server:
        check = ("check", "1", phone_of(server), "--share", str(log), "--period", "4", "--margin", "0.05")
        ended = [run(*check, env=account_of(server)) for _ in range(6)]
    assert [each.status for each in ended] == [0] * 6
    assert not any(each.err for each in ended[:5])
    assert ended[5].err in {f"smsc-status: waiting: the limits allow this check in {n} s\n" for n in (1, 2, 3, 4)}


@pytest.mark.slow
@pytest.mark.measured
def test_a_deletion_that_has_to_wait_says_so(log: Path) -> None:
    with serving(messages=1) as server:
        phone, limits = phone_of(server), ("--share", str(log), "--period", "4", "--margin", "0.05")
        for _ in range(5):
            run("check", "1", phone, *limits, env=account_of(server))
        ended = run("delete", "1", phone, *limits, env=account_of(server))
    assert ended.status == 0
    assert ended.err == "smsc-status: waiting: the limits do not allow the deletion yet\n"


@pytest.mark.slow
def test_fetch_and_track_share_too(log: Path, tmp_path: Path) -> None:
    with serving(messages=3) as server:
        source = tmp_path / "in.csv"
        source.write_text(csv_of(server))
        limits = ("--share", str(log), "--period", "1", "--margin", "0.05")
        fetched = run("fetch", str(source), *limits, env=account_of(server))
        tracked = run("track", str(source), "--out", str(tmp_path / "out.jsonl"), *limits, env=account_of(server))
        shown = json.loads(run("limits", "--share", str(log), "--json", env=account_of(server)).out)
    assert (fetched.status, tracked.status) == (0, 0)
    assert len(shown["processes"]) == 2
    assert shown["limits"]["period"] == 1.0


@pytest.mark.slow
def test_other_limits_than_another_process_s_are_an_error(log: Path) -> None:
    with serving(messages=1) as server:
        check = ("check", "1", phone_of(server), "--share", str(log))
        assert started(*check, env=account_of(server)).status == 0
        ended = run(*check, "--period", "30", env=account_of(server))
    assert ended.status == 2
    assert "period 60 and not 30" in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.measured
def test_the_time_of_a_quarantine_is_told(log: Path, tmp_path: Path) -> None:
    """Once, and at once: nothing else would show why no outcome comes."""
    anyio.run(lambda: FileStore(log).begin([encode(Quarantine(2.0, "it was lost"))], instead_of=""))
    with serving(messages=1) as server:
        source = tmp_path / "in.csv"
        source.write_text(csv_of(server))
        shown = run("limits", "--share", str(log), env=account_of(server))
        ended = run("fetch", str(source), "--share", str(log), env=account_of(server))
    assert "because the log is new" in shown.out
    assert "free slots    0 of 4" in shown.out
    assert ended.status == 0
    assert ended.err.count("nothing is sent for") == ended.err.count("\n") == 1


# Who shares.


@pytest.mark.parametrize("command", [["check", "7", "79"], ["delete", "7", "79"], ["fetch", "-"], ["limits"]])
@pytest.mark.parametrize(
    ("share", "what"),
    [
        ("nonsense", "expected 'process', 'machine', a path with a '/'"),
        ("", "expected 'process'"),
        ("/nowhere/at/all", "its directory does not exist"),
        ("ftp://host", "expected redis://"),
        ("redis://me:s3cret-password@host", "SMSC_SHARE"),
        ("redis:me:s3cret-password@host", "SMSC_SHARE"),
    ],
)
def test_a_wrong_share_is_told_in_one_line(command: list[str], share: str, what: str) -> None:
    """A password in an argument is refused, because other users of the machine see it."""
    ended = run(*command, "--share", share, stdin=b"id,phone\n7,79\n", env={"SMSC_APIKEY": "s3cret-key"})
    assert ended.status == 2
    assert what in ended.err
    assert "s3cret" not in ended.err
    assert ended.err.count("\n") == 1


def test_a_password_in_the_environment_is_not_shown() -> None:
    env = {"SMSC_APIKEY": "s3cret-key", "SMSC_SHARE": "redis://:s3cret-password@127.0.0.1:1"}
    for arguments in (["limits"], ["check", "7", "79"]):
        ended = run(*arguments, env=env)
        assert ended.status == 4
        assert "127.0.0.1:1" in ended.err
        assert "--share process" in ended.err
        assert ended.err.count("\n") == 1


def test_a_machine_without_a_place_for_the_log_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command works all the same. It says that it keeps the limits alone."""
    monkeypatch.setattr(sharing, "_warnings", set())
    monkeypatch.setattr(places, "why_not_here", lambda path: "it is on a floppy disk")
    env = {"XDG_STATE_HOME": str(tmp_path)}
    with serving(messages=1) as server:
        env |= account_of(server)
        checked = run("check", "1", phone_of(server), "--share", "machine", env=env)
        shown = run("limits", "--share", "machine", env=env)
        found = json.loads(run("limits", "--share", "machine", "--json", env=env).out)
    assert checked.status == shown.status == 0
    assert "does not share" in checked.err
    assert checked.err.endswith("it is on a floppy disk\n")
    assert shown.out.startswith("nothing is shared: ")
    assert found["shared_by"] == "process"
    assert found["reason"].endswith("floppy disk")
    assert logging.getLogger("smsc_status").handlers == [
        handler for handler in logging.getLogger("smsc_status").handlers if isinstance(handler, logging.NullHandler)
    ]


# `limits`.


def test_limits_shows_the_account_and_changes_nothing(log: Path) -> None:
    with serving(messages=2) as server:
        phone = phone_of(server)
        share = ("--share", str(log))
        before = run("limits", *share, env=account_of(server))
        run("check", "1", phone, *share, env=account_of(server))
        content = log.read_bytes()
        shown = run("limits", *share, env=account_of(server) | {"SMSC_SHARE": "nonsense"})
        assert log.read_bytes() == content
        found = json.loads(run("limits", "--json", env=account_of(server) | {"SMSC_SHARE": str(log)}).out)
        requests = server.emulator.referee.requests.total()
    assert before.out.splitlines() == [f"log           {log}", "              no log to read: there is no such file"]
    assert requests == 1
    name = f"{os.uname().nodename}/{os.getpid()}"
    lines = [line.split(None, 1) for line in shown.out.splitlines()]
    assert lines[0] == ["log", str(log)]
    assert lines[1] == ["processes", "1"]
    assert shown.out.splitlines()[2].strip() in {f"{name}: 0 open, last request {n} s ago" for n in range(9)}
    assert shown.out.splitlines()[3:] == [
        "free slots    4 of 4", "bulk request  now", "ids           1 asked lately",
    ]  # fmt: skip
    assert found.keys() == {
        "shared_by", "reason", "limits", "processes", "open_requests", "free_slots", "bulk_slot_in", "ids_remembered",
        "quarantine_in",
    }  # fmt: skip
    (process,) = found["processes"]
    assert process["name"] == name
    assert found["reason"] is None


def test_a_process_that_has_sent_nothing_yet_and_a_taken_bulk_slot_are_shown() -> None:
    process = ProcessState(name="host/1", open_requests=0, last_request_ago=None)
    state = AccountState(where="here", processes=(process,), bulk_slot_in=31.25, free_slots=4)
    assert "              host/1: 0 open, no request yet" in _limits.lines(state)
    assert "bulk request  in 31.2 s" in _limits.lines(state)


@pytest.mark.parametrize("forget", [[], ["--forget", "--yes"]])
def test_with_a_share_of_process_nothing_is_shared(forget: list[str]) -> None:
    """The environment has the credentials of any kind, and no address."""
    env = {"SMSC_LOGIN": "me", "SMSC_PASSWORD": "s3cret-password"}
    ended = run("limits", "--share", "process", *forget, env=env)
    assert ended.status == 0
    assert ended.out.startswith("nothing is shared: each process keeps the limits by itself")
    found = json.loads(run("limits", "--share", "process", "--json", env=env).out)
    assert found["shared_by"] == "process"
    assert found["processes"] is None


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--yes"], "expected --forget"),
        (["--forget", "--json"], "expected one of the two"),
        (["--forget"], "expected --yes"),
    ],
)
def test_options_that_do_not_fit_leave_the_log(log: Path, arguments: list[str], what: str) -> None:
    log.touch()
    ended = run("limits", *arguments, "--share", str(log), env={"SMSC_APIKEY": "s3cret-key"})
    assert ended.status == 2
    assert what in ended.err
    assert log.exists()


@pytest.mark.parametrize(
    ("arguments", "answer", "status", "is_left"),
    [(["--yes"], b"", 0, False), ([], b"y\n", 0, False), ([], b"n\n", 130, True), ([], b"", 130, True)],
)
def test_the_log_is_forgotten_after_asking(
    log: Path, arguments: list[str], answer: bytes, status: int, is_left: bool
) -> None:
    """The question says what it costs."""
    anyio.run(lambda: FileStore(log).begin([b""], instead_of=""))
    ended = run(
        "limits", "--forget", *arguments, "--share", str(log),
        stdin=answer, env={"SMSC_APIKEY": "s3cret-key"}, terminals=("stdin",) if not arguments else (),
    )  # fmt: skip
    assert ended.status == status
    assert log.exists() is is_left
    assert ("may break the vendor's limits" in ended.err) is not bool(arguments)


def test_a_file_that_is_no_log_is_never_deleted(log: Path) -> None:
    log.write_text("a letter")
    for arguments in ([], ["--forget", "--yes"]):
        ended = run("limits", *arguments, "--share", str(log), env={"SMSC_APIKEY": "s3cret-key"})
        assert ended.status == 2
        assert "expected a log of smsc_status" in ended.err
    assert log.read_text() == "a letter"


# One message that has to wait.


class Checks:
    """Stands for a client: gives these outcomes one after the other."""

    def __init__(self, *outcomes: StatusRecord | SmscError, quarantine_in: float = 0.0) -> None:
        self.outcomes = list(outcomes)
        self.quarantine_in = quarantine_in
        self.max_waits: list[float | None] = []

    async def check(self, id: str, phone: str, *, detail: Detail, max_wait: float | None) -> StatusRecord:
        self.max_waits.append(max_wait)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, SmscError):
            raise outcome
        return outcome

    def stats(self) -> Any:
        return SimpleNamespace(quarantine_in=self.quarantine_in)


def test_a_key_is_asked_for_on_a_terminal_to_find_the_log(log: Path) -> None:
    with mock.patch.object(_account, "getpass", return_value="s3cret-key"):
        ended = run("limits", "--share", str(log.parent), terminals=("stdin",))
    assert ended.status == 0
    assert ended.out.startswith(f"log           {log.parent}/")


def checked(client: Any, max_wait: float | None) -> StatusRecord:
    return anyio.run(lambda: _single.check(client, "7", "79", detail=Detail.BASIC, max_wait=max_wait))


@pytest.mark.parametrize(
    ("max_wait", "asked", "left"), [(None, 1.0, None), (100.0, 1.0, pytest.approx(100, abs=2)), (1.5, 1.0, 1.5)]
)
def test_a_check_waits_as_long_as_it_may(
    max_wait: float | None, asked: float, left: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Checks(LimitExceeded("later", 1.4), RECORD)
    assert checked(client, max_wait) is RECORD
    assert client.max_waits[0] == asked
    assert client.max_waits[1] == pytest.approx(left, abs=1) if left is not None else client.max_waits[1] is None
    assert capsys.readouterr().err == "smsc-status: waiting: the limits allow this check in 1 s\n"


@pytest.mark.parametrize("max_wait", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("error", [LimitExceeded("later", 58.0), RateLimited(9, "", 58.0)])
def test_a_check_that_may_not_wait_so_long_fails_at_once(
    max_wait: float, error: SmscError, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Checks(error)
    with pytest.raises(LimitExceeded):
        checked(client, max_wait)
    assert client.max_waits == [min(1.0, max_wait)]
    assert not capsys.readouterr().err


@pytest.mark.parametrize(("max_wait", "waits"), [(None, True), (30.0, False)])
def test_a_check_says_that_a_new_log_is_why_nothing_is_sent(
    max_wait: float | None, waits: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The limits are not the reason. It is said too if the check may not wait so long."""
    client = Checks(LimitExceeded("later", 101.0), RECORD, quarantine_in=100.6)
    if waits:
        assert checked(client, max_wait) is RECORD
    else:
        with pytest.raises(LimitExceeded):
            checked(client, max_wait)
    said = capsys.readouterr().err
    assert said.startswith("smsc-status: nothing is sent for 101 s: the log that the account's processes share is new")
    assert said.count("\n") == 1


@pytest.mark.parametrize("error", [TransportError("cut"), ProtocolError("no answer", excerpt="<html>")])
def test_a_check_without_an_answer_is_tried_again(error: SmscError, capsys: pytest.CaptureFixture[str]) -> None:
    """The first look at the limits costs no tries."""
    assert checked(Checks(error, RECORD), None) is RECORD
    assert checked(Checks(error, RECORD), 20.0) is RECORD
    with pytest.raises(type(error)):
        checked(Checks(error, RECORD), 1.0)
    assert not capsys.readouterr().err


def test_a_limiter_that_can_not_be_reached_ends_the_check() -> None:
    """Who waits at a terminal is told at once."""
    with pytest.raises(LimiterUnavailable):
        checked(Checks(LimiterUnavailable("away")), None)


def test_the_note_tells_how_many_processes_there_are() -> None:
    numbers = {"bulk_slot_in": 0.0, "open_requests": 1, "waiting": 2}
    alone, together = (SimpleNamespace(processes=n, **numbers) for n in (1, 3))
    note: Callable[[Any], str] = _meters.note_of
    assert note(alone) == "bulk slot free · 1 open · 2 waiting"
    assert note(together) == "bulk slot free · 1 open · 2 waiting · 3 processes"


def test_the_help_no_longer_asks_for_a_minute_between_runs() -> None:
    for command in ("check", "fetch", "track", "delete"):
        said = " ".join(run(command, "--help").out.split())
        assert "runs may follow each other at once" in said
