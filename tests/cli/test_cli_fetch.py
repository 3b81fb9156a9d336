"""One pass over a file, as a user runs it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from unittest import mock

import pytest
from cli_support import FAST, account_of, csv_of, run, serving, was_said

from smsc_status.cli import _meters


def test_each_message_comes_out_once(tmp_path: Path) -> None:
    """CSV in, JSON lines out, with the statuses that the server holds; no progress where nobody looks."""
    with serving(messages=60) as server:
        source = tmp_path / "in.csv"
        source.write_text(csv_of(server))
        ended = run("fetch", str(source), *FAST, env=account_of(server))
        rows = [json.loads(line) for line in ended.out.splitlines()]
        assert all(was_said(server, row) for row in rows)
        assert server.emulator.referee.no_violations
    assert (ended.status, ended.err) == (0, "")
    assert sorted(int(row["id"]) for row in rows) == list(range(1, 61))


def test_standard_input_is_written_to_a_csv_file(tmp_path: Path) -> None:
    """With the summary, for machines, on the standard output that is free."""
    out = tmp_path / "out.csv"
    with serving(messages=20) as server:
        lines = "".join(f'{{"id": {ref.id}, "phone": "{ref.phone}"}}\n' for ref in server.emulator.world)
        options = ("--out", str(out), "--format", "csv", "--detail", "extended", "--json")
        ended = run("fetch", "-", *options, *FAST, stdin=lines.encode(), env=account_of(server))
        rows = list(csv.DictReader(io.StringIO(out.read_text())))
        assert all(was_said(server, row) for row in rows)
    summary = json.loads(ended.out)
    assert len(rows) == 20
    assert all(row["message"] or row["channel"] == "hlr" for row in rows)
    assert summary["checked"] == 20
    assert summary["failed"] == summary["bad_lines"] == summary["exit"] == 0
    assert sum(summary["statuses"].values()) == 20
    assert not ended.err


def test_bad_lines_and_failures_do_not_stop_the_rest() -> None:
    """They are told with their numbers, and the exit status says so; the summary goes where no outcomes are."""
    with serving(messages=3) as server:
        text = csv_of(server) + "x,y\n"
        ended = run("fetch", "-", "--json", *FAST, stdin=text.encode(), env=account_of(server))
    told, summary = ended.err.splitlines()
    assert ended.status == 1
    assert told.startswith("smsc-status: standard input, line 5: phone 'y'")
    assert json.loads(summary)["bad_lines"] == 1
    assert len(ended.out.splitlines()) == 3


def test_a_message_that_the_vendor_refuses_is_written_as_a_failure() -> None:
    """With its reason, in the place of a status."""
    with serving(messages=2, max_bulk=0, enforce=False) as server:
        server.emulator.max_bulk = 0  # error 1 for everything
        ended = run("fetch", "-", *FAST, stdin=csv_of(server).encode(), env=account_of(server))
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.status == 1
    assert {row["error"] for row in rows} == {"ParametersError"}
    assert ended.err.startswith("smsc-status: 0 checked, 2 failed, 0 bad lines; ")


def test_wrong_credentials_end_the_run() -> None:
    """With one line that says what to do, and the summary."""
    with serving(messages=3) as server:
        ended = run("fetch", "-", *FAST, stdin=csv_of(server).encode(), env={**account_of(server), "SMSC_APIKEY": "x"})
    assert ended.status == 3
    assert not ended.out
    assert "SMSC_APIKEY" in ended.err.splitlines()[0]
    assert len(ended.err.splitlines()) == 2


@pytest.mark.slow
@pytest.mark.measured
def test_a_missing_server_is_an_error_of_the_network() -> None:
    """If nothing at all came through."""
    env = {"SMSC_BASE_URL": "http://127.0.0.1:1", "SMSC_APIKEY": "s3cret-key"}
    with mock.patch("smsc_status._core.scheduling.backoff.FIRST_DELAY", 0.01):
        ended = run("fetch", "-", stdin=b"id,phone\n1,71\n2,72\n", env=env)
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.status == 4
    assert {row["error"] for row in rows} == {"TransportError"}


@pytest.mark.slow
def test_a_server_that_never_answers_is_given_up() -> None:
    """Long before every message has had all its tries, each after a longer pause."""
    env = {"SMSC_BASE_URL": "http://127.0.0.1:1", "SMSC_APIKEY": "s3cret-key"}
    with mock.patch("smsc_status.cli._account.GIVE_UP_AFTER", 0.2):
        ended = run("fetch", "-", stdin=b"id,phone\n1,71\n2,72\n", env=env)
    assert (ended.status, ended.out) == (4, "")
    assert "SMSC_BASE_URL" in ended.err.splitlines()[0]


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"id,phone\n", b"\n"])
def test_an_empty_list_is_done_without_a_request(content: bytes) -> None:
    """Without a request."""
    with serving() as server:
        ended = run("fetch", "-", *FAST, stdin=content, env=account_of(server))
        assert not server.emulator.referee.requests
    assert (ended.status, ended.out, ended.err) == (0, "", "")


def test_a_file_without_an_id_column_is_refused_before_any_request() -> None:
    """A clear error, before any request and before any credentials are asked for."""
    ended = run("fetch", "-", stdin=b"number,phone\n1,7\n")
    assert ended.status == 2
    assert "no column 'id'" in ended.err
    assert ended.err.startswith("smsc-status: standard input: no column 'id'")
    assert ended.err.endswith("; see smsc-status fetch --help\n")
    assert ended.err.count("\n") == 1


def test_a_file_that_can_not_be_used_is_told_in_one_line(tmp_path: Path) -> None:
    """Each in one line; the input is never written over."""
    source = tmp_path / "in.csv"
    source.write_text("id,phone\n1,7\n")
    env = {"SMSC_APIKEY": "s3cret-key"}
    missing = run("fetch", str(tmp_path / "missing.csv"), env=env)
    folder = run("fetch", str(source), "--out", str(tmp_path), env=env)
    same = run("fetch", str(source), "--out", str(source), env=env)
    assert [missing.status, folder.status, same.status] == [2, 2, 2]
    assert "missing.csv: No such file" in missing.err
    assert str(tmp_path) in folder.err
    assert "another file" in same.err
    assert source.read_text() == "id,phone\n1,7\n"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "stdin"])
def test_a_terminal_shows_a_live_bar(kind: str, tmp_path: Path) -> None:
    """It shows the limits at work, and bad lines stay readable above it."""
    source = tmp_path / "in.csv"
    with serving(messages=30, latency=0.05) as server, mock.patch.object(_meters, "TICK", 0.01):
        text = csv_of(server) + "bad,\n"
        source.write_text(text)
        file = str(source) if kind == "file" else "-"
        ended = run(
            "fetch", file, *FAST, "--max-bulk", "10", stdin=text.encode(), env=account_of(server), terminals=("stderr",)
        )
    assert ended.status == 1
    assert len(ended.out.splitlines()) == 30
    assert "line 32: no 'phone'" in ended.err
    assert "bulk slot in" in ended.err
    assert "30/30" in ended.err
    assert "30 checked, 0 failed, 1 bad lines" in ended.err


def test_no_bar_is_shown_among_the_outcomes() -> None:
    """Where both would go to one terminal; the summary does."""
    with serving(messages=3) as server:
        ended = run(
            "fetch", "-", *FAST, stdin=csv_of(server).encode(), env=account_of(server), terminals=("stderr", "stdout")
        )
    assert ended.status == 0
    assert len(ended.err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.measured
def test_a_huge_file_is_not_read_ahead(tmp_path: Path) -> None:
    """Memory is bounded by what a client holds, whatever the file; the total is estimated from its size."""
    source = tmp_path / "in.csv"
    source.write_text("id,phone\n" + "".join(f"{n},79{n:09d}\n" for n in range(50_000)))
    shown: list[tuple[int, int | None]] = []

    class Spy(_meters.Live):
        def show(self, done: int, total: int | None, note: str) -> None:
            shown.append((done, total))

    with (
        serving(latency=0.1) as server,
        mock.patch.object(_meters, "Live", Spy),
        mock.patch.object(_meters, "TICK", 0.005),
        mock.patch("smsc_status.cli._output.Sink.write", side_effect=KeyboardInterrupt),
    ):
        ended = run("fetch", str(source), "--max-bulk", "10", *FAST, env=account_of(server), terminals=("stderr",))
    assert ended.status == 130
    totals = {total for _, total in shown} - {None}
    assert totals
    assert all(total is not None and 40_000 < total < 80_000 for total in totals)  # the first lines are shorter


@pytest.mark.slow
@pytest.mark.measured
def test_outcomes_of_an_earlier_run_are_not_written_over(tmp_path: Path) -> None:
    """Unless that is asked for; both ways on are named."""
    source, out = tmp_path / "in.csv", tmp_path / "out.jsonl"
    with serving(messages=3) as server:
        source.write_text(csv_of(server))
        arguments = ("fetch", str(source), "--out", str(out), *FAST)
        out.touch()
        assert run(*arguments, env=account_of(server)).status == 0  # an empty file has nothing to lose
        first = out.read_bytes()
        refused = run(*arguments, env=account_of(server))
        assert (refused.status, out.read_bytes()) == (2, first)
        both = run(*arguments, "--overwrite", "--resume", env=account_of(server))
        nowhere = run("fetch", str(source), "--resume", env=account_of(server))
        anew = run(*arguments, "--overwrite", env=account_of(server))
    assert f"'{out}': the file exists" in refused.err
    assert "--resume" in refused.err
    assert "--overwrite" in refused.err
    assert refused.err.endswith("; see smsc-status fetch --help\n")
    assert both.status == nowhere.status == 2
    assert "--resume: expected --out FILE" in nowhere.err
    assert anew.status == 0
    assert len(out.read_text().splitlines()) == 3


@pytest.mark.slow
@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_a_second_run_fetches_what_has_no_outcome(format: str, tmp_path: Path) -> None:
    """A half-written line is cut off, and every message has its outcomes in the end, no more and no fewer."""
    source, out = tmp_path / "in.csv", tmp_path / "out"
    with serving(messages=6) as server:
        text = csv_of(server)
        source.write_text(text + text.splitlines()[1] + "\n")  # the first message twice
        arguments = ("fetch", str(source), "--out", str(out), "--format", format, "--resume", "--json", *FAST)
        assert run(*arguments, env=account_of(server)).status == 0
        whole = out.read_bytes()
        lines = whole.splitlines(keepends=True)
        head = lines[:4] if format == "csv" else lines[:3]
        out.write_bytes(b"".join(head) + b"\n\0\0\n" + lines[4][:9])
        ended = run(*arguments, env=account_of(server))
        again = run(*arguments, env=account_of(server))
    assert (ended.status, again.status) == (0, 0)
    assert [json.loads(ended.out)[name] for name in ("checked", "resumed")] == [4, 3]
    assert [json.loads(again.out)[name] for name in ("checked", "resumed")] == [0, 7]
    for what in ("empty", "a hole of NUL bytes", "half-written, and cut off"):
        assert what in ended.err
    rows = [line for line in out.read_text().splitlines() if line.strip("\0")]
    assert len(rows) == 7 + (format == "csv")
    ids = [json.loads(row)["id"] for row in rows] if format == "jsonl" else [row.split(",")[0] for row in rows[1:]]
    assert sorted(ids) == ["1", "1", "2", "3", "4", "5", "6"]


def test_the_summary_counts_the_outcomes_of_earlier_runs(tmp_path: Path) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out"
    with serving(messages=2) as server:
        source.write_text(csv_of(server))
        arguments = ("fetch", str(source), "--out", str(out), "--resume", *FAST)
        run(*arguments, env=account_of(server))
        ended = run(*arguments, env=account_of(server), terminals=("stderr",))
    assert "0 checked, 0 failed, 0 bad lines, 2 were before; " in ended.err


def test_a_dash_names_standard_output() -> None:
    with serving(messages=2) as server:
        ended = run("fetch", "-", "--out", "-", *FAST, stdin=csv_of(server).encode(), env=account_of(server))
    assert (ended.status, ended.err) == (0, "")
    assert len(ended.out.splitlines()) == 2
    assert not Path("-").exists()


@pytest.mark.slow
def test_a_log_gets_a_line_of_progress_now_and_then() -> None:
    """A line of progress now and then, where standard error is no terminal."""
    with serving(messages=60, latency=0.05) as server, mock.patch.object(_meters, "TOLD_EVERY", 0.05):
        text = csv_of(server).encode()
        ended = run("fetch", "-", *FAST, "--max-bulk", "10", stdin=text, env=account_of(server))
    assert ended.status == 0
    assert " of 60 · bulk slot" in ended.err


def test_ctrl_c_ends_with_the_summary() -> None:
    """What was done until then, with the shell's own status."""
    with serving(messages=3) as server, mock.patch("smsc_status.cli._output.Sink.write", side_effect=KeyboardInterrupt):
        ended = run("fetch", "-", "--json", *FAST, stdin=csv_of(server).encode(), env=account_of(server))
    assert ended.status == 130
    assert json.loads(ended.err)["exit"] == 130


@pytest.mark.slow
def test_thousands_of_bad_lines_are_a_dozen_on_the_terminal() -> None:
    """Ten one by one, then one line a kind with the count."""
    lines = "".join(f"a {number},71\n" for number in range(20_000))
    with serving() as server:
        ended = run("fetch", "-", "--json", *FAST, stdin=f"id,phone\n{lines}".encode(), env=account_of(server))
    *told, summary = ended.err.splitlines()
    assert len(told) == 11
    assert "line 12, and 19,989 more lines like it: id 'a 10': expected 1 to 40 Latin letters" in told[-1]
    assert json.loads(summary)["bad_lines"] == 20_000


def test_times_are_read_in_the_zone_that_was_named() -> None:
    """Its name is checked before any request."""
    with serving(messages=1) as server:
        text = csv_of(server).replace("id,phone", "ID,Телефон").encode("cp1251")
        arguments = ("fetch", "-", *FAST)
        good = run(*arguments, "--encoding", "cp1251", "--timezone", "+05:00", stdin=text, env=account_of(server))
        bad = run(*arguments, "--timezone", "Nowhere", stdin=text, env=account_of(server))
    assert (good.status, good.err) == (0, "")
    assert bad.status == 2
    assert "--timezone 'Nowhere'" in bad.err
    help = " ".join(run("fetch", "--help").out.split())
    assert "Moscow" in help


def test_control_characters_of_a_reply_reach_no_terminal() -> None:
    """Neither as JSON lines, which keep the text itself, nor as CSV, nor as an error's text; no formula comes out."""
    with serving() as server:
        now = server.emulator.now()
        server.emulator.world.add(1, "79990000000", sent_at=now - 60, life=[(0, 1)], text="=1+1\x1b[2J\x9b31m\u202e")
        arguments = ("fetch", "-", "--detail", "full", *FAST)
        lines = run(*arguments, stdin=csv_of(server).encode(), env=account_of(server))
        table = run(*arguments, "--format", "csv", stdin=csv_of(server).encode(), env=account_of(server))
        bare = run(
            *arguments, "--format", "csv", "--no-guard-cells", stdin=csv_of(server).encode(), env=account_of(server)
        )
    for ended in (lines, table, bare):
        assert ended.status == 0
        assert not set(ended.out) & set("\x1b\x9b\u202e")
    assert json.loads(lines.out)["message"] == "=1+1\x1b[2J\x9b31m\u202e"
    assert [next(csv.DictReader(io.StringIO(ended.out)))["message"][:5] for ended in (table, bare)] == [
        "'=1+1",
        "=1+1\\",
    ]
