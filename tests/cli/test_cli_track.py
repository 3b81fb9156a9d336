"""A job that follows messages, as a user runs it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from cli_support import FAST, account_of, run, serving, was_said

from smsc_status.emulator import EmulatorServer


def populated(server: EmulatorServer, folder: Path, count: int = 30) -> Path:
    """A file of messages that end within two real seconds."""
    now = server.emulator.now()
    source = folder / "in.csv"
    lines = ["id,phone,sent_at"]
    for id in range(1, count + 1):
        ref = server.emulator.world.add(id, "79990000000", sent_at=now, life=[(0, 0), (id * 100 / count, 1)])
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
    assert "10 were done before" in again.err
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
        bad = run("track", str(source), "--out", str(source), *FAST, env=account_of(server))
    assert ended.status == 1
    assert "Archived" in ended.err
    assert [row.get("status") for row in rows_of(out) if row["id"] == "1"] == [0, 1]
    assert [row.get("error") for row in rows_of(out) if row["id"] == "3"] == [None, "Archived"]
    assert bad.status == 2


def test_what_can_not_be_used(tmp_path: Path) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text("id,phone\n1,79990000000\n")
    out.write_text("no results\n")
    env = {"SMSC_BASE_URL": "http://127.0.0.1:9", "SMSC_APIKEY": "wrong"}
    assert run("track", "-", "--out", str(out), env=env).status == 2
    ended = run("track", str(source), "--out", str(out), env=env)
    assert ended.status == 2
    assert "line 1: expected the results of an earlier run" in ended.err
    assert out.read_text() == "no results\n"


def test_the_account_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with serving() as server:
        source = populated(server, tmp_path, 3)
        ended = run("track", str(source), "--out", str(out), *FAST, env=account_of(server) | {"SMSC_APIKEY": "no"})
    assert ended.status == 3
    assert not out.read_bytes()


def test_killed_and_run_again(tmp_path: Path) -> None:
    """At any moment: no message is lost, and no line repeats the one before it for its message."""
    out, draw = tmp_path / "out.jsonl", random.Random(1)
    with serving() as server:
        source = populated(server, tmp_path)
        env = {**os.environ, **account_of(server)}
        command = [sys.executable, "-m", "smsc_status.cli", "track", str(source), "--out", str(out), *FAST]
        for _ in range(3):
            with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as process:
                time.sleep(0.7 + draw.random())
                process.kill()
        ended = run("track", str(source), "--out", str(out), *FAST, env=account_of(server))
        rows = rows_of(out)
        assert all(was_said(server, row) for row in rows)
    assert ended.status == 0
    for id in range(1, 31):
        changes = [row["status"] for row in rows if row["id"] == str(id)]
        assert changes[-1] == 1
        assert all(a != b for a, b in pairwise(changes))
