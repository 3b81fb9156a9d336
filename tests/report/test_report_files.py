"""Files of results: what can be read, what is reported, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from report_support import Outcome, not_expected, outcomes_of_a_world, record, written

from smsc_status import ConfigError, Detail, FailedCheck, MessageRef
from smsc_status.cli._output import OutputFormat
from smsc_status.errors import Archived
from smsc_status.models import MOSCOW
from smsc_status.report._counting.figures import Figures
from smsc_status.report._reading import files
from smsc_status.report._reading.files import ResultsFile
from smsc_status.report._reading.sources import Outcomes, count

Said = list[tuple[int, str]]
LINE = '{"id": 7, "phone": "79990000000", "status": 1}'


def read(path: Path) -> tuple[Figures, Said]:
    said: Said = []
    return count(ResultsFile(path), MOSCOW, lambda number, why: said.append((number, why))), said


def of_lines(tmp_path: Path, *lines: str | bytes, name: str = "results.jsonl", end: bytes = b"\n") -> Path:
    path = tmp_path / name
    path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines) + end)
    return path


def facts(figures: Figures) -> Any:
    """All figures that can be compared."""
    by = [figures.by_day, figures.by_channel, figures.by_operator, figures.by_sender, figures.look_ups_by_operator]
    named: list[Any] = [sorted(map(repr, one.items())) for one in by]  # type: ignore[attr-defined]  # of several types
    curves = [figures.times.curve(), *sorted((day, times.curve()) for day, times in figures.times_by_day.items())]
    slowest = [(slow.seconds, slow.row.identity) for slow in figures.slowest]
    return figures.messages, figures.look_ups, figures.statuses, figures.reasons, named, curves, slowest


@pytest.mark.slow
@pytest.mark.measured
@pytest.mark.parametrize("format", list(OutputFormat))
def test_a_file_has_the_figures_of_its_outcomes(format: OutputFormat, tmp_path: Path) -> None:
    """With every kind of message, texts in quotes over several lines, failures, and several outcomes of a message."""
    outcomes: list[Outcome] = [
        *outcomes_of_a_world(300),
        FailedCheck(MessageRef(10**6, "79990000000"), Archived("gone")),
        record(10**6 + 1, message='three,\nshort\nlines, and "quotes"', sender_id="=SHOP, Ltd", operator='"A", b'),
    ]
    expected = count(Outcomes(outcomes), MOSCOW, not_expected)
    figures, said = read(written(tmp_path / f"results.{format}", outcomes, format))
    assert said == []
    assert facts(figures) == facts(expected)
    assert figures.by_sender.get("=SHOP, Ltd") is not None
    assert figures.rows == len(outcomes)
    assert figures.counted == 302


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_csv_file_may_have_another_delimiter_and_a_mark_at_its_beginning(delimiter: str, tmp_path: Path) -> None:
    """A spreadsheet saves it so."""
    lines = [
        "id,phone,status,operator".replace(",", delimiter),
        f'7{delimiter}79990000000{delimiter}1{delimiter}"a{delimiter}b"',
        "",
    ]
    path = of_lines(tmp_path, *(f"{line}\r" for line in lines), name="results.csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    figures, said = read(path)
    assert said == []
    assert list(figures.by_operator) == [f"a{delimiter}b"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        pytest.param('{"id": 7, "phone": "7999', 'not JSON: \'{"id": 7, "phone": "7999\'', id="cut"),
        pytest.param("[1]", "Expected object, got array", id="an array"),
        pytest.param('{"status": "x", "id": 7', 'not JSON: \'{"status": "x"', id="cut after a wrong value"),
        pytest.param('{"id": 8, "phone": "7", "status": "x"}', "status 'x': expected int", id="a wrong value"),
        pytest.param('{"id": 8, "phone": "7"}', "no outcome: it has no status and no error", id="no outcome"),
        pytest.param('{"id": 8, "phone": "7", "status": 1, "cost": "NaN"}', "cost 'NaN'", id="a cost"),
        pytest.param(b"\xff\xfe\xfa", "not JSON: '\N{REPLACEMENT CHARACTER}", id="bytes"),
        pytest.param(b'{"id": 8, "phone": "\xff", "status": 1}', "not JSON: ", id="a text that is no UTF-8"),
        pytest.param(b"\0" * 10, "a hole of NUL bytes", id="a hole"),
        pytest.param(b"x" * (1 << 20) + b"y", "too long", id="too long"),
        pytest.param("[" * 100_000, "not JSON: '[[[", id="nested deeply"),
    ],
)
def test_a_damaged_line_is_reported_and_costs_no_other_its_place(line: str | bytes, why: str, tmp_path: Path) -> None:
    """It is reported once, although a file with repetitions is read twice."""
    figures, said = read(of_lines(tmp_path, LINE, "", line, LINE, LINE.replace("7,", "9,")))
    ((number, reason),) = said
    assert number == 3
    assert why in reason
    assert figures.messages.total == 2
    assert figures.bad_rows == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        pytest.param("8,7", "2 columns: expected 3, as in the header", id="too few"),
        pytest.param("8,7,x", "status 'x': expected int", id="a wrong value"),
        pytest.param("8,7,", "no outcome", id="no outcome"),
        pytest.param(b"8,\xff,1", "not UTF-8: '8,\N{REPLACEMENT CHARACTER},1'", id="bytes"),
    ],
)
def test_a_damaged_record_of_csv_is_reported(line: str | bytes, why: str, tmp_path: Path) -> None:
    figures, said = read(of_lines(tmp_path, "id,phone,status", "7,79990000000,1", line, "9,7,1", name="r.csv"))
    assert [(number, why in reason) for number, reason in said] == [(3, True)]
    assert figures.messages.total == 2


def test_a_quote_that_is_not_closed_costs_one_line(tmp_path: Path) -> None:
    _, said = read(of_lines(tmp_path, "id,phone,status", "7,79990000000,1", '8,"7,1', name="r.csv"))
    assert said == [(3, "not CSV: a quote is not closed, or a field is too long")]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["# Title"], "line 1: no column 'id' in '# Title': expected results of fetch or track"),
        (["id,status"], "line 1: no column 'phone' in 'id,status'"),
        (["id,phone,sent_at"], "line 1: no column 'status' in 'id,phone,sent_at'"),
        (
            ["", '{"name": "x"}'],
            "line 2: no outcome: it has no status and no error; expected results of fetch or track",
        ),
        (["id,phone,status", "7,7,x"], "line 2: status 'x': expected int"),
        ([b"\x89PNG\r"], "line 1: '\N{REPLACEMENT CHARACTER}PNG': expected results"),
    ],
)
def test_a_file_of_something_else_is_refused(lines: list[str | bytes], expected: str, tmp_path: Path) -> None:
    """The error names the file, the line and what it has."""
    path = of_lines(tmp_path, *lines)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert f"{path}, {expected}" in str(caught.value)


@pytest.mark.parametrize("content", ["", "\n\n", "id,phone,status,error\n"])
def test_a_file_without_rows_has_no_figures(content: str, tmp_path: Path) -> None:
    figures, said = read(of_lines(tmp_path, content, end=b""))
    assert (figures.rows, figures.counted, said) == (0, 0, [])


def test_what_a_job_writes_meanwhile_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read twice, and both times as far as it went in the beginning."""
    path = of_lines(tmp_path, *[LINE] * 3)
    source = ResultsFile(path)
    monkeypatch.setattr(files, "CHUNK_BYTES", 10)
    with path.open("a") as file:
        file.write(f"{LINE}\n" * 100)
    assert len(list(source.rows(not_expected))) == 3


def test_a_file_that_was_cut_meanwhile_ends_where_it_ends(tmp_path: Path) -> None:
    path = of_lines(tmp_path, *[LINE] * 3)
    source = ResultsFile(path)
    path.write_text(f"{LINE}\n")
    assert len(list(source.rows(not_expected))) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """It can't be read twice."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe': expected a file, which is read twice"):
        ResultsFile(tmp_path / "pipe")


def test_a_file_that_does_not_exist_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ResultsFile(tmp_path / "nothing")


def test_lower_levels_of_detail_are_read(tmp_path: Path) -> None:
    """They have fewer columns."""
    figures, _ = read(written(tmp_path / "r.csv", [record(1), record(2)], OutputFormat.CSV, Detail.BASIC))
    assert figures.messages.total == 2
    assert len(figures.by_operator) == len(figures.by_sender) == 0


def test_outcomes_in_memory_that_can_not_be_read_are_reported() -> None:
    said: Said = []
    bad = [record(1, sent_at=record(1).sent_at.replace(year=1980)), record(2)]  # type: ignore[union-attr]  # it is known
    figures = count(Outcomes(bad), MOSCOW, lambda number, why: said.append((number, why)))
    assert [number for number, _ in said] == [1]
    assert (figures.messages.total, figures.bad_rows) == (1, 1)


def test_something_else_than_outcomes_is_refused() -> None:
    with pytest.raises(ConfigError, match="outcome '7': expected a StatusRecord or a FailedCheck"):
        count(Outcomes([7]), MOSCOW, lambda *_: None)  # type: ignore[list-item]  # that is the test


@pytest.mark.parametrize("content", [LINE.encode("utf-16"), b"\0\0\n\0\n"], ids=["UTF-16", "holes"])
def test_a_file_of_which_no_line_can_be_read_is_refused(content: bytes, tmp_path: Path) -> None:
    """A report of nothing would replace a good one."""
    path = tmp_path / "results.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not one of its lines can be read"):
        read(path)


@pytest.mark.parametrize("lines", [1, 3, 4])
def test_a_file_that_is_rewritten_between_the_two_readings_is_refused(lines: int, tmp_path: Path) -> None:
    path = of_lines(tmp_path, LINE, LINE)

    class Rewritten(ResultsFile):
        def rows(self, report: Any) -> Any:
            yield from super().rows(report)
            of_lines(tmp_path, *[LINE[:-1] + " " * (2 if lines == 1 else 0) + "}"] * lines)
            self._size = path.stat().st_size

    with pytest.raises(ConfigError, match="changed while it was read"):
        count(Rewritten(path), MOSCOW, not_expected)
