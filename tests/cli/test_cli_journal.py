"""The results of earlier runs, read back."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest

from smsc_status._lines import MAX_LINE_BYTES
from smsc_status.cli._journal import Answered, CsvRows, JsonRows, read_back
from smsc_status.cli._output import OutputFormat, Row, Sink, columns
from smsc_status.errors import ConfigError, TransportError
from smsc_status.models import Detail, FailedCheck, MessageRef, StatusRecord


def line(id: int) -> bytes:
    return json.dumps({"id": id, "phone": "79990000000", "status": 0, "err": None, "is_final": False}).encode() + b"\n"


def read(path: Path, *, csv: bool = False) -> tuple[list[Row], list[tuple[int, str]]]:
    taken: list[Row] = []
    said: list[tuple[int, str]] = []

    def take(row: Row) -> None:
        MessageRef(row["id"], row["phone"])
        taken.append(row)

    rows = CsvRows(columns(Detail.FULL)) if csv else JsonRows()
    with path.open("ab+") as file:
        file.seek(0)
        read_back(file, "out", rows, take, lambda number, why: said.append((number, why.split(";")[0])))
        assert file.tell() == path.stat().st_size
    return taken, said


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (b"\0" * 5000 + b"\n", "a hole of NUL bytes"),
        (b"\n", "empty"),
        (b" \r\n", "empty"),
        (line(9)[:20] + b"\0" * 10 + b"\n", "a hole of NUL bytes"),
        (b"x" * (MAX_LINE_BYTES * 2 + 1) + b"\n", "too long"),
        (b"\0" * (MAX_LINE_BYTES * 2) + b"\n", "too long"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_damaged_line_is_reported_and_skipped_wherever_it_is(
    damage: bytes, what: str, place: int, tmp_path: Path
) -> None:
    """The others are read."""
    path = tmp_path / "out"
    lines = [line(1), line(2)]
    lines.insert(place, damage)
    path.write_bytes(b"".join(lines))
    taken, said = read(path)
    assert [row["id"] for row in taken] == [1, 2]
    assert said == [(place + 1, what)]
    assert path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize("damage", [b"rubbish\n", b'{"id": 1}\n', b"[1]\n", b"[" * 100_000 + b"\n", b"\xff\n"])
def test_a_line_that_is_no_outcome_is_skipped_below_one_that_is(damage: bytes, tmp_path: Path) -> None:
    """As the first of a file it shows that the file is not ours."""
    path = tmp_path / "out"
    path.write_bytes(line(1) + damage + line(2))
    assert read(path)[1] == [(2, "no outcome")]
    path.write_bytes(b"\0\n\n" + damage + line(2))
    with pytest.raises(ConfigError, match="--out 'out', line 3: expected an earlier run's results"):
        read(path)
    assert path.read_bytes() == b"\0\n\n" + damage + line(2)


def test_whole_lines_behind_a_hole_are_read(tmp_path: Path) -> None:
    """As a run that went on after a power cut has left it."""
    path = tmp_path / "out"
    path.write_bytes(line(1) + b"\0" * 100 + line(2) + line(3))
    taken, said = read(path)
    assert [row["id"] for row in taken] == [1, 2, 3]
    assert said == [(2, "a hole of NUL bytes")]


@pytest.mark.parametrize("tail", [line(2)[:-1], b"{", b"\0" * 100, b"x" * (MAX_LINE_BYTES + 5)])
def test_a_last_line_that_is_not_whole_is_cut_off(tail: bytes, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(line(1) + tail)
    assert read(path)[1] == [(2, "half-written, and cut off")]
    assert path.read_bytes() == line(1)
    assert read(path) == ([json.loads(line(1))], [])


def outcomes() -> list[StatusRecord | FailedCheck]:
    refs = [MessageRef("1", "+7 (999) 000-00-00"), MessageRef("-2", "+79990000000"), MessageRef("3", "a@b.ru")]
    record = StatusRecord(status=-3, ref=refs[0], message='=1+1\n\n"quoted", Привет', checked_at=None)  # type: ignore[arg-type]  # as rows need none
    return [record, FailedCheck(refs[1], TransportError("+cut")), StatusRecord(status=1, ref=refs[2], message="-\x1b")]


@pytest.mark.slow
@pytest.mark.measured
@pytest.mark.parametrize("guard", [True, False])
def test_csv_reads_its_own_output_back(guard: bool, tmp_path: Path) -> None:
    """Cells that are kept from running included, and texts of several lines."""
    path = tmp_path / "out"
    with path.open("wb") as file:
        sink = Sink(file, OutputFormat.CSV, Detail.FULL, guard=guard)
        for outcome in outcomes():
            sink.write(outcome)
    whole = path.read_bytes()
    taken, said = read(path, csv=True)
    assert not said
    assert [MessageRef(row["id"], row["phone"]) for row in taken] == [outcome.ref for outcome in outcomes()]
    assert [row.get("status") for row in taken] == ["-3", None, "1"]
    assert [row.get("error") for row in taken] == [None, "TransportError", None]
    assert taken[0]["message"] == '=1+1\n\n"quoted", Привет'
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        again, said = read(path, csv=True)
        assert taken[: len(again)] == again
        assert whole.startswith(path.read_bytes())
        assert bool(said) == (path.stat().st_size < size)
        assert all(why == "half-written, and cut off" for _, why in said)


def test_damaged_lines_of_csv_are_reported_and_skipped(tmp_path: Path) -> None:
    """The same as for JSON lines; other columns are another file's."""
    path = tmp_path / "out"
    header = ",".join(columns(Detail.FULL)).encode() + b"\n"
    row = b"7,79990000000,1" + b"," * (len(columns(Detail.FULL)) - 3) + b"\n"
    path.write_bytes(header + b"\n" + row + b"\0\0\n1,2\n\0" + row)
    taken, said = read(path, csv=True)
    assert [row["id"] for row in taken] == ["7", "7"]
    assert said == [(2, "empty"), (4, "a hole of NUL bytes"), (5, "no outcome"), (6, "a hole of NUL bytes")]
    path.write_bytes(b"id,phone\n" + row)
    with pytest.raises(ConfigError, match="line 1: expected an earlier run's results"):
        read(path, csv=True)


def test_a_journal_in_use_by_another_run_is_refused(tmp_path: Path) -> None:
    """Where the file system knows locks."""
    path = tmp_path / "out"
    path.write_bytes(line(1))
    with mock.patch("fcntl.flock", side_effect=BlockingIOError), pytest.raises(ConfigError, match="another run writes"):
        read(path)
    with mock.patch("fcntl.flock", side_effect=OSError):
        assert len(read(path)[0]) == 1


def test_a_message_is_left_out_as_often_as_it_has_an_outcome() -> None:
    """One that was put in twice and came out once is asked for once more."""
    answered = Answered()
    for row in ({"id": 1, "phone": "7", "status": 1}, {"id": "2", "phone": "7", "error": "TransportError"}):
        answered.take(row)
    with pytest.raises(ValueError, match="no outcome"):
        answered.take({"id": 3, "phone": "7"})
    assert [answered.should_check(MessageRef(id, "7")) for id in (1, 1, "02", 2, 3)] == [False, True, False, True, True]
    assert answered.skipped == 2
