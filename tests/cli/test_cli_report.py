"""The command `report`, and the demo's report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest import mock

import pytest
import sqlalchemy as sa
from cli_support import run
from report_support import leave_out_plots, outcomes_of_a_world, record, written

import smsc_status
from smsc_status.cli._exits import Exit

pytestmark = pytest.mark.usefixtures("no_plots")


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out_plots(monkeypatch)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return written(tmp_path / "results.jsonl", [record(1), record(2, 20), record(3, 0), record(4, -3)])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "report.html"


def test_the_report_of_a_file_is_written_and_summed_up(results: Path, out: Path) -> None:
    ended = run("report", str(results), "--out", str(out))
    assert (ended.status, ended.out) == (Exit.DONE, "")
    expected = f"4 messages: 1 delivered, 1 not delivered, 1 on the way, 1 unknown; written to {out}"
    assert ended.err == f"smsc-status: {expected}\n"
    page = out.read_text()
    assert "Delivery report" in page
    assert "7999…00" in page
    assert "79990000000" not in page


def test_one_message_is_summed_up_as_one(tmp_path: Path, out: Path) -> None:
    ended = run("report", str(written(tmp_path / "one.jsonl", [record(1)])), "--out", str(out))
    assert ended.err.startswith("smsc-status: 1 message: 1 delivered, ")


def test_the_options_change_what_the_page_shows(results: Path, out: Path) -> None:
    options = ("--lang", "ru", "--title", "Март <1>", "--full-phones", "--timezone", "+10:00")
    ended = run("report", str(results), "--out", str(out), "--json", *options)
    assert json.loads(ended.out) == {
        "messages": 4, "delivered": 1, "failed": 1, "open": 1, "unknown": 1, "look_ups": 0, "bad_lines": 0,
    }  # fmt: skip
    page = out.read_text()
    for text in ("<h1>Март &lt;1&gt;</h1>", "79990000000", "г., 16:00", "Доставлено"):
        assert text in page


def test_the_page_may_go_to_standard_output(results: Path) -> None:
    ended = run("report", str(results), "--out", "-")
    assert ended.out.startswith("<!doctype html>")
    assert ended.out.endswith("</html>")
    assert "written to standard output" in ended.err
    assert json.loads(run("report", str(results), "--out", "-", "--json").err)["messages"] == 4


def test_damaged_lines_are_reported_and_counted(results: Path, out: Path) -> None:
    """The first ones one by one, the others by kind; the report is written all the same."""
    with results.open("a") as file:
        file.write('{"id": 5, "phone": "7", "status": "x"}\n' * 20)
    ended = run("report", str(results), "--out", str(out))
    assert ended.status == Exit.SOME_FAILED
    assert f"smsc-status: {results}, line 5: status 'x': expected int" in ended.err
    assert f"{results}, line 15, and 9 more lines like it: status 'x'" in ended.err
    assert "1 unknown; 20 could not be read; written to" in ended.err
    assert out.exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "RESULTS: expected a file of results, or a database with --table"),
        (["-"], "RESULTS '-': expected a file, which is read twice"),
        (["postgresql://app:s3cret-password@db/app"], "RESULTS: expected a file; for a database give --table, too"),
        (["x.jsonl", "--where", "id > 1"], "--where: expected --table with it"),
        (["x.jsonl", "--column", "id=x"], "--column: expected --table with it"),
        (["--table", "t"], "DATABASE_URL: expected the database's URL, as the argument or in the environment"),
        (["x.jsonl", "--lang", "de"], "--lang"),
        (["nothing.jsonl"], "nothing.jsonl: No such file or directory"),
    ],
)
def test_wrong_usage_says_what_is_expected(arguments: list[str], expected: str, out: Path) -> None:
    ended = run("report", *arguments, "--out", str(out), env={"DATABASE_URL": ""} if "--table" not in arguments else {})
    assert ended.status == Exit.USAGE
    assert expected in ended.err
    assert "see smsc-status report --help" in ended.err
    assert not out.exists()


def test_look_ups_are_summed_up_too(tmp_path: Path, out: Path) -> None:
    ended = run("report", str(written(tmp_path / "r.jsonl", outcomes_of_a_world(100))), "--out", str(out))
    assert " look-ups; written to " in ended.err


@pytest.mark.parametrize("from_environment", [True, False])
def test_the_report_of_a_table_is_written(from_environment: bool, tmp_path: Path, out: Path) -> None:
    """By the same options as `sync` has. A row that can't be used is one, not a line."""
    url = f"sqlite:///{tmp_path / 'app.db'}"
    engine = sa.create_engine(url)
    columns = "sms int primary key, phone text, status int, checked_at text, outcome text, price text"
    with engine.begin() as connection:
        connection.execute(sa.text(f"create table messages ({columns})"))
        for id, price in enumerate(("1", "2", "much", "4")):
            values = {"id": id, "price": price}
            connection.execute(sa.text("insert into messages values (:id, '7999', 1, null, 'Read', :price)"), values)
    engine.dispose()
    options = ("--table", "messages", "--column", "id=sms", "--column", "cost=price", "--where", "sms > 0")
    given = [] if from_environment else [url]
    ended = run("report", *given, "--out", str(out), *options, env={"DATABASE_URL": url} if from_environment else {})
    assert ended.status == Exit.SOME_FAILED
    assert "smsc-status: messages, row 2: cost 'much'" in ended.err
    assert "2 messages: 2 delivered" in ended.err
    assert ">6.00<" in out.read_text()


def test_without_its_packages_the_command_says_what_to_install(
    results: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(smsc_status, "report", raising=False)
    with mock.patch.dict(sys.modules, {"vl_convert": None}):
        sys.modules.pop("smsc_status.report", None)
        ended = run("report", str(results), "--out", str(out))
    assert ended.status == Exit.USAGE
    assert "smsc_status.report needs more packages: pip install 'smsc-status[report]'" in ended.err


@pytest.mark.slow
@pytest.mark.measured
def test_the_demo_writes_a_report_of_its_messages(out: Path) -> None:
    ended = run("demo", "--messages", "40", "--speed", "240", "--report", str(out), "--lang", "ru", "--json")
    assert ended.status == Exit.DONE
    assert f"a report of the messages was written to {out}" in ended.err
    page = out.read_text()
    assert "Отчёт о доставке" in page
    assert "Самые долгие доставки" in page
    look_ups = json.loads(ended.out)["channels"].get("hlr", 0)
    assert look_ups
    assert "Проверки номеров" in page
