"""What may happen to processes that share an account: the limits hold, and the others go on.

Real processes, real sockets, real time. The emulator runs in a process of its own: it counts what arrives, and refuses
what breaks a limit.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pytest
from fleets import BUDGET, LINGER, LONGEST, QUARANTINE, Fleet, kill_for, longest_gap

from smsc_status._core.scheduling.ledger import VERSION
from smsc_status._sharing.layout import HEADER_BYTES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the log in a file is only for Linux"),
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "account.log"


# 1. Several processes.


def test_processes_that_share_a_log_keep_the_limits_together(fleet: Fleet, log: Path) -> None:
    programs = [fleet.start(log, "stream", first=1 + 150 * k, count=150) for k in range(4)]
    for program in programs:
        assert len(program.end()["answered_at"]) == 150
    counted = fleet.counted()
    assert counted.refusals == 0
    assert counted.most_open <= 4
    assert counted.requests["bulk"] > 1


def test_without_a_shared_log_they_are_refused(fleet: Fleet) -> None:
    programs = [fleet.start("process", "go_on", first=1 + 1000 * k, count=1000) for k in range(4)]
    for program in programs:
        assert program.line() == "at work"
    time.sleep(4.0)
    for program in programs:
        program.end()
    counted = fleet.counted()
    assert counted.refusals > 3
    assert counted.most_open > 4


# 2. Processes are killed.


def test_processes_that_are_killed_break_no_limit_and_hold_up_nobody_for_long(fleet: Fleet, log: Path) -> None:
    """A killed process keeps its slots for a time-out and a linger."""
    found = kill_for(fleet, log, 10.0)
    counted = fleet.counted()
    assert counted.refusals == 0
    assert counted.most_open <= 4
    for said in found:
        assert longest_gap(said["answered_at"]) < BUDGET + LINGER + 2.0
        assert not said["warnings"]


def test_without_a_shared_log_killed_processes_forget_what_they_have_sent(fleet: Fleet) -> None:
    kill_for(fleet, "process", 3.0, at_work=False)
    assert fleet.counted().refusals > 3


# 3. A process is stopped before the first byte of a request.


def stop_before(place: str, fleet: Fleet, log: Path, **options: Any) -> dict[str, Any]:
    """Stop a process at its first bulk request, and go on with it as soon as another one's bulk request is answered.

    The other one sends single requests until the stopped one's bulk slot is free again, and then its bulk request.
    """
    stopped = fleet.start(log, "restarted", id=1, stop=place, **options)
    stopped.wait_until_stopped()
    said: dict[str, Any] = fleet.start(log, "stream", first=1000, count=1000).end()
    stopped.send(signal.SIGCONT)
    stopped.end()
    return said


@pytest.mark.parametrize("place", ["headers", "body"])
def test_a_process_that_is_stopped_in_a_request_sends_nothing_late(fleet: Fleet, log: Path, place: str) -> None:
    """And the other one has used its slot meanwhile: four are open at once."""
    said = stop_before(place, fleet, log)
    counted = fleet.counted()
    assert counted.refusals == 0
    assert counted.most_open == 4
    assert longest_gap(said["answered_at"]) < BUDGET + LINGER + 2.0


def test_without_the_check_of_the_time_it_would_be_refused(fleet: Fleet, log: Path) -> None:
    """The other one has just sent a bulk request."""
    stop_before("body", fleet, log, without="fence")
    assert fleet.counted().refusals > 0


# 4. A process is stopped while it has the file locked.


def test_a_process_that_is_stopped_with_the_lock_blocks_no_event_loop(fleet: Fleet, log: Path) -> None:
    """The others warn after some seconds, and go on when it goes on."""
    others = [fleet.start(log, "go_on", first=1 + 1000 * k, count=1000) for k in range(2)]
    for other in others:
        assert other.line() == "at work"
    stopped = fleet.start(log, "stream", first=3000, count=100, stop="lock")
    stopped.wait_until_stopped()
    stopped_at = time.clock_gettime(time.CLOCK_BOOTTIME)
    time.sleep(3.5)
    stopped.send(signal.SIGCONT)
    stopped.end()
    for other in others:
        said = other.end()
        assert said["blocked"] < 1.0
        assert [text for text in said["warnings"] if "locked" in text]
        assert said["answered_at"][-1] > stopped_at + 3.5
    counted = fleet.counted()
    assert counted.refusals == 0
    assert counted.most_open <= 4


# 5. A process is forked.


def test_a_forked_process_begins_anew_and_shares_the_account_with_its_parent(fleet: Fleet, log: Path) -> None:
    program = fleet.start(log, "forked", first=1, count=100)
    said = program.end()
    assert said["child"]["open_before"] == 0
    assert said["child"]["processes"] == 2
    assert len(said["answered_at"]) == len(said["child"]["answered_at"]) == 100
    counted = fleet.counted()
    assert counted.refusals == 0
    assert counted.most_open <= 4


# 6. A process is started again at once.


def test_a_process_that_is_started_again_at_once_knows_what_was_sent(fleet: Fleet, log: Path) -> None:
    for _ in range(10):
        fleet.start(log, "restarted", id=1).end()
    counted = fleet.counted()
    assert counted.refusals == 0
    assert counted.requests["bulk"] > 1  # while the bulk slot is out, messages may go in single requests


def test_without_a_shared_log_it_would_be_refused_at_once(fleet: Fleet) -> None:
    programs = [fleet.start("process", "restarted", id=1) for _ in range(3)]  # on a busy machine a start takes seconds
    for program in programs:
        program.end()
    assert fleet.counted().refusals > 0


# 7. Processes that do not fit together.


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"limits": {"period": 2.0}}, ["period 3 and not 2"]),
        ({"version": VERSION + 1}, [f"version {VERSION}", f"expected {VERSION + 1}"]),
    ],
    ids=["other limits", "another version"],
)
def test_all_methods_tell_at_once_of_a_process_that_does_not_fit(
    fleet: Fleet, log: Path, options: dict[str, Any], expected: list[str]
) -> None:
    first = fleet.start(log, "go_on", first=1, count=100)
    assert first.line() == "at work"
    said = fleet.start(log, "each_method", **options).end()
    assert said["failed"].keys() == {"check", "stream", "track", "delete"}
    for kind, text, took in said["failed"].values():
        assert kind == "ConfigError"
        assert all(part in text for part in expected), text
        assert took < 1.0
    first.end()
    counted = fleet.counted()
    assert counted.refusals == 0
    assert counted.requests["delete"] == 0


# 8. The log is lost.


def lose(log: Path, how: str) -> None:
    if how == "deleted":
        log.unlink()
    elif how == "truncated":
        os.truncate(log, HEADER_BYTES + 40)
    elif how == "emptied":
        os.truncate(log, 0)
    else:
        with open(log, "r+b") as file:
            file.seek(HEADER_BYTES)
            file.write(os.urandom(1000))


def lose_beside_three(fleet: Fleet, log: Path, how: str, **options: Any) -> list[dict[str, Any]]:
    programs = [fleet.start(log, "go_on", first=1 + 1000 * k, count=1000, **options) for k in range(3)]
    for program in programs:
        assert program.line() == "at work"
    time.sleep(0.5)
    lose(log, how)
    time.sleep(8.5)
    return [program.end() for program in programs]


@pytest.mark.parametrize("how", ["deleted", "truncated", "emptied", "garbage"])
def test_a_lost_log_is_followed_by_a_quarantine(fleet: Fleet, log: Path, how: str) -> None:
    found = lose_beside_three(fleet, log, how)
    counted = fleet.counted()
    assert counted.refusals == 0
    assert counted.most_open <= 4
    for said in found:
        assert len(said["warnings"]) == 1, said["warnings"]
        assert "nothing is sent for up to" in said["warnings"][0]
        assert longest_gap(said["answered_at"]) > QUARANTINE - BUDGET
        assert said["blocked"] < 1.0


def test_without_the_quarantine_they_would_be_refused(fleet: Fleet, log: Path) -> None:
    lose_beside_three(fleet, log, "deleted", without="quarantine")
    assert fleet.counted().refusals > 0


def test_a_newcomer_that_begins_a_new_log_is_told_by_those_who_know_the_old_one(fleet: Fleet, log: Path) -> None:
    """It has nothing that tells it of the old log."""
    old = fleet.start(log, "go_on", first=1, count=1000)
    assert old.line() == "at work"
    old.send(signal.SIGSTOP)
    log.unlink()
    time.sleep(0.1)
    new = fleet.start(log, "rarely", first=3000, count=3, pause=0.5)
    deadline = time.monotonic() + LONGEST
    while not log.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    old.send(signal.SIGCONT)
    time.sleep(QUARANTINE + 3.0)
    said = old.end()
    assert [text for text in said["warnings"] if "taken the place" in text]
    new.end()
    assert fleet.counted().refusals == 0


def test_a_foreign_file_is_refused_before_anything_is_sent(fleet: Fleet, log: Path) -> None:
    log.write_text("something else entirely, which is longer than a header: " * 10)
    before = log.read_bytes()
    said = fleet.start(log, "each_method").end()
    assert {name: kind for name, (kind, _, _) in said["failed"].items()} == dict.fromkeys(
        ("check", "stream", "track", "delete"), "ConfigError"
    )
    assert log.read_bytes() == before
    assert sum(fleet.counted().requests.values()) == 0


def test_while_the_directory_is_away_callers_with_a_time_are_told_and_the_others_wait(
    fleet: Fleet, tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    log = folder / "account.log"
    streaming = fleet.start(log, "go_on", first=1, count=1000)
    asking = fleet.start(log, "rarely", first=2000, count=8, pause=0.7)
    told = fleet.start(log, "told_when_away", timeout=1.0)
    assert told.line() == "at work"
    assert streaming.line() == "at work"
    folder.rename(tmp_path / "away")
    told.process.stdin.write("\n")  # type: ignore[union-attr]  # it is a pipe
    told.process.stdin.flush()  # type: ignore[union-attr]  # likewise
    assert told.line() == {"timeout": "LimiterUnavailable", "max_wait": "LimiterUnavailable"}
    (tmp_path / "away").rename(folder)
    back_at = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert len(asking.end()["took"]) == 8
    time.sleep(6.0)
    said = streaming.end()
    assert said["answered_at"][-1] > back_at
    told.end()
    counted = fleet.counted()
    assert counted.refusals == 0
    assert counted.most_open <= 4


# 9. A busy process beside others.


def test_a_rare_check_beside_a_busy_stream_is_answered_soon(log: Path) -> None:
    fleet = Fleet(latency=0.1)
    try:
        lone = fleet.start(log, "rarely", first=4000, count=15, pause=0.05).end()["took"]
        busy = fleet.start(log, "go_on", first=1, count=2000, limits={"max_bulk": 2})
        assert busy.line() == "at work"
        took = fleet.start(log, "rarely", first=4500, count=40, pause=0.15).end()["took"]
        busy.end()
        assert median(took) < 2 * median(lone) + 0.05
        assert quantiles(took, n=20)[-1] < 4 * median(lone) + 0.1
        assert fleet.counted().refusals == 0
    finally:
        fleet.end()


def seconds_for(log: Path, programs: int, count: int) -> float:
    fleet = Fleet(latency=0.1)
    try:
        started = [
            fleet.start(log, "stream", first=1 + k * count, count=count, limits={"max_bulk": 2})
            for k in range(programs)
        ]
        instants: list[float] = [at for program in started for at in program.end()["answered_at"]]
        assert fleet.counted().refusals == 0
        return max(instants) - min(instants)
    finally:
        fleet.end()


def test_four_processes_are_together_about_as_fast_as_one(tmp_path: Path) -> None:
    one = seconds_for(tmp_path / "one.log", 1, 240)
    four = seconds_for(tmp_path / "four.log", 4, 60)
    assert four < 1.4 * one + 1.0
