"""A job that follows messages, as a user runs it."""

from __future__ import annotations

import json
import random
import re
import signal
import time
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest
from cli_support import FAST, account_of, run, serving, start, was_said

from smsc_status import StatusRecord
from smsc_status.cli._meters import Pace
from smsc_status.cli._track import name_of
from smsc_status.emulator import EmulatorServer

pytestmark = [pytest.mark.slow, pytest.mark.measured]


def populated(server: EmulatorServer, folder: Path, count: int = 30, *, minutes: float = 1.7) -> Path:
    """A file of messages that end within so many emulated minutes, or real seconds; the first of them twice."""
    now = server.emulator.now()
    source = folder / "in.csv"
    lines = ["id,phone,sent_at"]
    for id in range(1, count + 1):
        ref = server.emulator.world.add(id, "79990000000", sent_at=now, life=[(0, 0), (id * 60 * minutes / count, 1)])
        lines.append(f"{id},{ref.phone},{now:.0f}")
    source.write_text("\n".join([*lines, lines[1], ""]))
    return source


def rows_of(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_each_message_is_followed_to_its_end(tmp_path: Path) -> None:
    """And a second run finds nothing to do."""
    out = tmp_path / "out.jsonl"
    with serving() as server:
        source = populated(server, tmp_path, 10)
        ended = run("track", str(source), "--out", str(out), "--json", *FAST, env=account_of(server))
        rows = rows_of(out)
        assert all(was_said(server, row) for row in rows)
        again = run("track", str(source), "--out", str(out), *FAST, env=account_of(server), terminals=("stderr",))
    assert ended.status == again.status == 0
    assert json.loads(ended.out)["outcomes"] == {"Delivered": 10}
    assert "0 messages done" in again.err
    assert "10 were before" in again.err
    assert rows_of(out) == rows
    assert {row["id"] for row in rows if row["is_final"]} == {str(id) for id in range(1, 11)}


def test_a_run_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    """A half-written line is cut off, and what was reported is not reported again."""
    out = tmp_path / "out.jsonl"
    with serving() as server:
        now = server.emulator.now()
        server.emulator.world.add(1, "79990000000", sent_at=now - 60, life=[(0, 0), (200, 1)])
        server.emulator.world.add(2, "79990000000", sent_at=now - 60, life=[(0, 1)])
        server.emulator.world.add(3, "79990000000", sent_at=now - 90_000, life=[(0, 1)])
        source = tmp_path / "in.csv"
        source.write_text(f"id,phone,sent_at\n1,79990000000,\n2,79990000000,\n3,79990000000,{now - 90_000:.0f}\n")
        known = {"id": "1", "phone": "79990000000", "status": 0, "err": None, "is_final": False}
        out.write_text(json.dumps(known) + '\n{"id": "2", "pho')
        ended = run("track", str(source), "--out", str(out), *FAST, env=account_of(server))
        again = run("track", str(source), "--out", str(out), "--json", *FAST, env=account_of(server))
        bad = run("track", str(source), "--out", str(source), *FAST, env=account_of(server))
    assert ended.status == 1
    assert "Archived" in ended.out
    assert [row.get("status") for row in rows_of(out) if row["id"] == "1"] == [0, 1]
    assert [row.get("error") for row in rows_of(out) if row["id"] == "3"] == [None, "Archived"]
    assert json.loads(again.out)["outcomes_in_all"] == {"Delivered": 2, "Archived": 1}
    assert json.loads(again.out)["done"] == again.status == 0
    assert bad.status == 2


def test_arguments_that_can_not_be_used_are_refused(tmp_path: Path) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text("id,phone\n1,79990000000\n")
    out.write_text("no results\n")
    env = {"SMSC_BASE_URL": "http://127.0.0.1:9", "SMSC_APIKEY": "wrong"}
    assert run("track", "-", "--out", str(out), env=env).status == 2
    dashed = run("track", str(source), "--out", "-", env=env)
    assert dashed.status == 2
    assert "--out '-': expected a file" in dashed.err
    ended = run("track", str(source), "--out", str(out), env=env)
    assert ended.status == 2
    assert "line 1: expected an earlier run's results" in ended.err
    assert out.read_text() == "no results\n"


def test_a_run_goes_on_with_a_damaged_journal(tmp_path: Path) -> None:
    """Holes of NULs and empty lines are reported and skipped, and their messages are followed anew."""
    out = tmp_path / "out.jsonl"
    with serving() as server:
        source = populated(server, tmp_path, 5)
        assert run("track", str(source), "--out", str(out), *FAST, env=account_of(server)).status == 0
        rows = out.read_bytes().splitlines(keepends=True)
        of_first = [row for row in rows if json.loads(row)["id"] == "1"]
        others = [row for row in rows if row not in of_first]
        out.write_bytes(b"\0" * len(b"".join(of_first)) + b"\n\n" + others[0] + b"\n" + b"".join(others[1:]))
        ended = run("track", str(source), "--out", str(out), "--json", *FAST, env=account_of(server))
    summary = json.loads(ended.out)
    assert (ended.status, summary["done"], summary["resumed"]) == (0, 1, 4)
    told = ended.err.splitlines()
    assert [line.partition(", line ")[2].partition(";")[0] for line in told] == [
        "1: a hole of NUL bytes",
        "2: empty",
        "4: empty",
    ]
    assert out.read_bytes().endswith(b"\n")


def test_a_refused_account_ends_the_run(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with serving() as server:
        source = populated(server, tmp_path, 3)
        ended = run("track", str(source), "--out", str(out), *FAST, env=account_of(server) | {"SMSC_APIKEY": "no"})
    assert ended.status == 3
    assert not out.read_bytes()


def test_a_run_that_was_killed_and_run_again_loses_no_message(tmp_path: Path) -> None:
    """At any of twenty moments: no message is lost, and no line repeats the one before it for its message."""
    out, draw = tmp_path / "out.jsonl", random.Random(1)
    with serving() as server:
        source = populated(server, tmp_path, minutes=15)
        for k in range(20):
            before = server.emulator.referee.requests.total()
            with start("track", str(source), "--out", str(out), *FAST, env=account_of(server)) as process:
                while k % 2 and server.emulator.referee.requests.total() == before and process.poll() is None:
                    time.sleep(0.01)  # every other time, it has got to work
                time.sleep(draw.uniform(0.0, 0.7))
                process.kill()
        assert len(rows_of(out)) >= 30
        ended = run("track", str(source), "--out", str(out), "--json", *FAST, env=account_of(server))
        rows = rows_of(out)
        assert all(was_said(server, row) for row in rows)
    assert ended.status == 0
    assert json.loads(ended.out)["outcomes_in_all"] == {"Delivered": 30}
    for id in range(1, 31):
        changes = [row["status"] for row in rows if row["id"] == str(id)]
        assert changes[-1] == 1
        assert all(a != b for a, b in pairwise(changes))


def test_ctrl_c_leaves_whole_lines(tmp_path: Path) -> None:
    """And the shell's own exit status; the next run goes on."""
    out = tmp_path / "out.jsonl"
    with serving() as server:
        source = populated(server, tmp_path, minutes=12)
        with start("track", str(source), "--out", str(out), *FAST, env=account_of(server)) as process:
            while not out.exists() or out.read_bytes().count(b"\n") < 30:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=10)
        assert process.returncode == 130
        assert re.fullmatch(r"smsc-status: \d+ messages done in .*, 0 were before, 0 bad lines; .*\n", err)
        assert len(rows_of(out)) >= 30
        ended = run("track", str(source), "--out", str(out), *FAST, env=account_of(server))
    assert ended.status == 0


def test_a_terminal_shows_how_far_the_run_is(tmp_path: Path) -> None:
    """How many are done by outcome, how fast, how old the oldest answer is; at the end, a table."""
    out = tmp_path / "out.jsonl"
    with serving() as server:
        source = populated(server, tmp_path, minutes=12)
        with source.open("a") as file:
            file.write("nonsense,,\n")
        arguments = ("track", str(source), "--out", str(out), *FAST)
        ended = run(*arguments, env=account_of(server), terminals=("stderr",))
    assert ended.status == 1
    for seen in ("Delivered · ", "delivered a minute", "oldest answer 0:00:", "bulk slot", "left at this rate"):
        assert seen in ended.err
    assert "line 33: no 'phone'" in ended.err
    assert "30 messages done in 0:00:" in ended.err
    assert re.search(r"Delivered\W+30\W+30", ended.out)


def test_a_log_gets_a_line_of_progress_now_and_then(tmp_path: Path) -> None:
    """A line of progress now and then."""
    out = tmp_path / "out.jsonl"
    with serving() as server, mock.patch("smsc_status.cli._meters.TOLD_EVERY", 0.5):
        source = populated(server, tmp_path, minutes=4)
        ended = run("track", str(source), "--out", str(out), *FAST, env=account_of(server))
    assert "smsc-status: 0 of 30 · " in ended.err
    assert "bulk slot in" in ended.err
    assert len(ended.err.splitlines()) < 20


def test_a_second_run_with_the_same_journal_is_refused(tmp_path: Path) -> None:
    """A second one would write everything twice."""
    out = tmp_path / "out.jsonl"
    with serving() as server:
        source = populated(server, tmp_path, minutes=20)
        arguments = ("track", str(source), "--out", str(out), *FAST)
        with start(*arguments, env=account_of(server)) as process:
            while not out.exists() or not out.read_bytes():
                time.sleep(0.01)
            second = run(*arguments, env=account_of(server))
            process.kill()
    assert second.status == 2
    assert "another run writes there now" in second.err


def test_a_file_system_without_locks_is_enough(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with serving() as server, mock.patch("fcntl.flock", side_effect=OSError):
        source = populated(server, tmp_path, minutes=0)
        assert run("track", str(source), "--out", str(out), *FAST, env=account_of(server)).status == 0


def test_a_server_that_never_answers_ends_the_run(tmp_path: Path) -> None:
    """Its address is most likely wrong."""
    source = tmp_path / "in.csv"
    source.write_text("id,phone\n1,79990000000\n")
    env = {"SMSC_BASE_URL": "http://127.0.0.1:9", "SMSC_APIKEY": "key"}
    with mock.patch("smsc_status.cli._account.GIVE_UP_AFTER", 0.2):
        ended = run("track", str(source), "--out", str(tmp_path / "out.jsonl"), env=env)
    assert ended.status == 4
    assert "check the network" in ended.err


def test_a_server_that_sends_only_pages_ends_the_run(tmp_path: Path) -> None:
    """Its pages are no answers, however many it sends."""
    with serving(faults={"html": 1.0}) as server, mock.patch("smsc_status.cli._account.GIVE_UP_AFTER", 1.0):
        source = populated(server, tmp_path)
        ended = run("track", str(source), "--out", str(tmp_path / "out.jsonl"), *FAST, env=account_of(server))
    assert ended.status == 4
    assert "no answer that can be read" in ended.err
    assert not (tmp_path / "out.jsonl").read_bytes()


def test_the_pace_is_the_average_of_the_last_minutes() -> None:
    """On average over the last minutes."""
    pace = Pace(window=10.0)
    for second in range(100):
        pace.seen(second * second, now=float(second))
        pace.seen(10_000, now=second + 0.5)
    assert pace.a_second == (99 * 99 - 90 * 90) / 9
    pace.seen(0, now=1000.0)
    assert pace.a_second == 0.0


def test_an_outcome_without_a_title_is_told_by_its_number() -> None:
    """Its status has no name."""
    assert name_of(StatusRecord(status=77)) == "77"
