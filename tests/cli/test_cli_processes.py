"""The command line in processes of its own: signals, pipes, and what a shell sees."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_support import FAST, ROOT, account_of, csv_of, serving, start

pytestmark = pytest.mark.slow


def test_ctrl_c_leaves_whole_lines(tmp_path: Path) -> None:
    """And the shell's own exit status."""
    out = tmp_path / "out.jsonl"
    source = tmp_path / "in.csv"
    with serving(messages=300, latency=0.1) as server:
        source.write_text(csv_of(server))
        arguments = ("fetch", str(source), "--out", str(out), "--max-bulk", "5", *FAST)
        with start(*arguments, env=account_of(server)) as process:
            while not out.exists() or out.read_bytes().count(b"\n") < 5:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert re.fullmatch(r"smsc-status: \d+ checked, 0 failed, 0 bad lines; .*\n", err)
    text = out.read_text()
    assert text.endswith("\n")
    rows = [json.loads(line) for line in text.splitlines()]
    assert 5 <= len(rows) < 300


def test_ctrl_c_ends_a_run_whose_standard_input_is_silent() -> None:
    """A reader that waits for a line can be interrupted."""
    with serving(messages=1) as server:
        process = start("fetch", "-", *FAST, env=account_of(server), stdin=subprocess.PIPE)
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(csv_of(server))
            process.stdin.flush()
            line = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            process.wait(timeout=10)
            err = process.stderr.read() if process.stderr else ""
    assert json.loads(line)["id"] == "1"  # answered while the input goes on
    assert process.returncode == 130
    assert err.startswith("smsc-status: 1 checked, 0 failed")
    assert err.count("\n") == 1


def test_a_reader_that_leaves_early_ends_the_run_quietly() -> None:
    """`smsc-status fetch FILE | head -1` is quiet."""
    with serving(messages=50) as server:
        process = start("fetch", "-", *FAST, "--max-bulk", "5", env=account_of(server), stdin=subprocess.PIPE)
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(csv_of(server))
            process.stdin.close()
            process.stdout.readline()
            process.stdout.close()
            process.wait(timeout=10)
            err = process.stderr.read() if process.stderr else ""
    assert process.returncode == 141
    assert not err


def test_the_emulator_serves_until_ctrl_c(tmp_path: Path) -> None:
    """It says where it is, serves, and ends well."""
    out = tmp_path / "messages.csv"
    with start("emulator", "--port", "0", "--messages", "5", "--speed", "60", "--out", str(out)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = re.match(r"SMSC_BASE_URL=(\S+) SMSC_APIKEY=(\S+) smsc-status (.*)", process.stdout.readline())
        assert found is not None
        env = {"SMSC_BASE_URL": found[1], "SMSC_APIKEY": found[2]}
        with start(*found[3].split(), env=env) as fetching:
            fetched, _ = fetching.communicate(timeout=20)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert fetching.returncode == 0
    assert len(fetched.splitlines()) == 5
    assert process.returncode == 0
    assert not err


def test_the_demo_ends_well_within_thirty_seconds() -> None:
    """Under thirty seconds, exit status 0, and the last line says that no limit was broken."""
    began_at = time.monotonic()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "smsc_status", "demo"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began_at < 30
    assert "no limit was broken" in done.stdout.splitlines()[-1]


def test_help_does_not_need_a_terminal() -> None:
    """Nor any stream that somebody reads."""
    with start("--help", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        process.communicate(timeout=10)
    assert process.returncode == 0
