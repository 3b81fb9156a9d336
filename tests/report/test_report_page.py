"""What the page says."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import stat
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from report_support import NOW, SENT, Outcome, html_of, outcomes_of_a_world, record, written

from smsc_status import ConfigError, FailedCheck, HlrRecord, MessageRef, StatusRecord, report
from smsc_status._core.drafts import bind
from smsc_status.errors import Archived, ParametersError, SmscError
from smsc_status.models import MOSCOW
from smsc_status.report._counting import tallies
from smsc_status.report._page.context import shortened
from smsc_status.report._page.groups import MOST_SHOWN, Period, period_of

pytestmark = pytest.mark.usefixtures("no_plots")

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(1)">'


def text_of(html: str) -> str:
    """What a reader sees, in one line."""
    body = re.sub(r"<(style|title)>.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def section(html: str, name: str) -> str:
    """The text of a section; empty if there is no such section."""
    found = re.search(rf'<section id="{name}">(.*?)</section>', html, re.DOTALL)
    return text_of(found[1]) if found else ""


def look_up(id: int, status: int, err: int | None, **fields: Any) -> HlrRecord:
    at = int(SENT.timestamp())
    defaults: dict[str, Any] = {
        "type": 4,
        "send_timestamp": at,
        "last_timestamp": at + 5,
        "operator": "МТС",
        "cost": Decimal("0.3"),
    }
    made = HlrRecord(status=status, err=err, **defaults | fields)
    bind(made, MessageRef(id, "79990000000"), NOW, MOSCOW)
    return made


STATES: list[tuple[int, int | None]] = [(1, 0), (20, 1), (0, None), (-3, None)]

# What is there.


def test_the_page_says_how_the_messages_stand() -> None:
    outcomes: list[Outcome] = [record(1), record(2), record(3, 20, err=6), record(4, 0)]
    outcomes.append(FailedCheck(MessageRef(5, "79990000000"), Archived("gone")))
    shown = text_of(html_of(outcomes))
    assert "40.0% of the messages were delivered" in shown
    assert "Delivered 2 40.0% Not delivered 1 20.0% On the way 1 20.0% Status unknown 1 20.0%" in shown
    assert "5 messages Mar 10, 2026, 09:00" in shown
    assert "Made Mar 12, 2026, 15:00" in shown


def test_a_table_says_it_for_each_operator_and_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "MOST_NAMES", 11)
    outcomes = [record(id, operator=f"operator {id % 12}") for id in range(24)]
    page = html_of(outcomes)
    shown = section(page, "operators")
    assert "operator 0 2 2 100%" in shown
    assert "All others 8 8 100%" in shown
    assert "different names; all further ones are counted together" in section(page, "about")


def test_the_vendor_s_names_say_why_messages_failed() -> None:
    """By the table of the message's channel, and without regard to the status."""
    page = html_of(
        [
            record(1, 20, err=6),
            record(2, 3, err=6),
            record(3, 20, err=2, phone="a@b.ru", type=8),
            record(4, 23, err=None),
            record(5, 20, err=77),
            record(6, 20, err=0),
        ]
    )
    shown = section(page, "reasons")
    assert "Subscriber offline Error 6. The phone is off or out of coverage. 2 33.3%" in shown
    assert "Mailbox full Error 2. " in shown
    assert "Forbidden Stopped by the limits" in shown
    assert "Error 77 1 16.7%" in shown
    assert "Can't be delivered Delivery failed" in shown


def test_more_reasons_than_there_is_room_for_are_counted_together() -> None:
    outcomes = [record(err, 20, err=err) for err in (1, 6, 11, 12, 13, 21, 219, 220, 237, 240)]
    assert "All others 2 20.0%" in section(html_of(outcomes), "reasons")


def test_the_page_says_why_a_status_is_not_known() -> None:
    class Odd(SmscError):
        pass

    failures: list[Outcome] = [
        FailedCheck(MessageRef(id, "79990000000"), error)
        for id, error in enumerate([Archived("x"), Archived("x"), ParametersError(1, "x"), Odd("x")], 1)
    ]
    shown = section(html_of([*failures, record(9, -3)]), "reasons")
    assert "Not found The server does not know the message" in shown
    assert "The vendor moved it to its archive too early Archived 2 40.0%" in shown
    assert "The server refused the request ParametersError 1 20.0%" in shown
    assert "Odd 1 20.0%" in shown


def test_errors_of_too_many_names_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "MOST_NAMES", 1)
    errors = [type(f"Error{number}", (SmscError,), {})("x") for number in range(3)]
    page = html_of([FailedCheck(MessageRef(id, "7999"), error) for id, error in enumerate(errors)])
    assert "Error0 1 33.3% All others 2 66.7%" in section(page, "reasons")


def test_costs_are_exact_and_of_what_was_delivered() -> None:
    outcomes = [record(id, 1 if id % 2 else 20, cost=Decimal("0.1")) for id in range(30)]
    shown = section(html_of(outcomes), "cost")
    assert "All messages 3.00 What was delivered 1.50 50.0% For each delivered message 0.20" in shown
    assert "In the currency of the account." in shown
    assert "The cost is known" not in shown


def test_the_page_says_of_how_many_messages_the_cost_is_known() -> None:
    outcomes = [record(1), record(2, cost=None), record(3, type=7, cost=None, operator=None)]
    assert "The cost is known for 1 message." in section(html_of(outcomes), "cost")


def test_messages_that_cost_nothing_have_a_cost_of_nothing() -> None:
    shown = section(html_of([record(1, 20, cost=Decimal(0), operator=None)]), "cost")
    assert "All messages 0.00 What was delivered 0.00 Channel" in shown


def test_the_slowest_deliveries_are_named_with_shortened_phones() -> None:
    outcomes = [record(1, took=100, phone="79991234567"), record(2, took=7200, phone="anna@example.ru", type=8)]
    short, full = (section(html_of(outcomes, full_phones=full), "slowest") for full in (False, True))
    assert "a…@example.ru 2 МТС SHOP Mar 10, 2026, 09:00 2 hr 7999…67 1 МТС SHOP" in short
    assert "79991234567" not in short
    assert "anna@" not in short
    assert "anna@example.ru 2" in full
    assert "79991234567 1" in full


def test_the_slowest_deliveries_have_only_columns_that_are_known() -> None:
    shown = section(html_of([record(1, operator=None, sender_id=None)]), "slowest")
    assert "Recipient Id Sent Took 7999…00 1 Mar 10, 2026, 09:00 10 sec" in shown


@pytest.mark.parametrize("phone", ["112", "7999123", "+7"])
def test_a_short_phone_is_not_shown_at_all(phone: str) -> None:
    """Most of it would be."""
    assert shortened(phone) == "…"


def test_look_ups_have_a_section_of_their_own() -> None:
    outcomes: list[Outcome] = [look_up(1, 1, 0), look_up(2, 20, 1), look_up(3, 0, None), record(4)]
    page = html_of(outcomes)
    shown = section(page, "look-ups")
    assert "Reachable 1 33.3% Not reachable 1 33.3% Not known yet 1 33.3%" in shown
    assert "МТС 3 1 1 1 33.3%" in shown
    assert "Number look-ups 0.90" in section(page, "cost")
    assert "1 message 3 look-ups" in text_of(page)
    assert section(html_of([record(1)]), "look-ups") == ""


def test_look_ups_of_many_operators_are_counted_together() -> None:
    outcomes = [look_up(id, *state, operator=f"operator {min(id, 10)}") for id, state in enumerate(STATES * 3)]
    assert "All others 3 1 1 0 1 33.3%" in section(html_of(outcomes), "look-ups")


def test_results_of_look_ups_alone_are_a_report() -> None:
    page = html_of([look_up(1, 1, 0, operator=None, cost=None)])
    assert "There are no messages in the results." in text_of(page)
    assert "Reachable 1 100%" in section(page, "look-ups")
    assert section(page, "days") == ""


def test_the_history_of_messages_is_counted() -> None:
    page = html_of([record(1, 0), record(1), record(2), look_up(3, 1, 0)])
    assert "Records: 4; messages and look-ups: 3." in section(page, "about")


def test_lines_that_can_not_be_read_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "r.jsonl", [record(1)])
    path.write_bytes(path.read_bytes() + b"{broken\n")
    shown = text_of(html_of(path))
    assert "Left out, because they can't be read: 1 line." in shown
    assert "from r.jsonl" in shown


def test_unknown_statuses_are_shown_by_their_numbers() -> None:
    page = html_of([record(1, 99), record(2, 0)])
    assert "Status 99 99 1 50.0%" in section(page, "about")
    assert "Handed to the operator 0 1 50.0%" in section(page, "about")


# Days.


def test_each_day_has_a_row_and_the_days_between_have_a_bar() -> None:
    outcomes = [record(1), record(2, 20, sent_at=SENT + timedelta(days=3))]
    shown = section(html_of(outcomes), "days")
    assert shown.startswith("Day by day")
    assert "Mar 10, 2026 1 1 0 100%" in shown
    assert "Mar 13, 2026 1 0 1 0%" in shown
    assert "Mar 11" not in shown


@pytest.mark.parametrize(
    ("days", "title", "first"),
    [(61, "Day by day", "Mar 10, 2026"), (62, "Week by week", "Mar 9, 2026"), (500, "Month by month", "Mar 2026")],
)
def test_many_days_are_shown_by_week_or_month(days: int, title: str, first: str) -> None:
    outcomes = [record(id, sent_at=SENT + timedelta(days=day)) for id, day in enumerate((0, 1, days))]
    page = html_of(outcomes)
    shown = section(page, "days")
    assert shown.startswith(title)
    assert f"{first} {1 if title.startswith('Day') else 2} " in shown
    assert first in section(page, "times")


def test_a_section_says_for_how_many_messages_its_field_is_known() -> None:
    """So that nobody misses the others in its table."""
    nameless: dict[str, Any] = {"operator": None, "sender_id": None, "send_timestamp": None}
    page = html_of([record(1), record(2, 20), record(3, **nameless)])
    assert section(page, "days").endswith("The date of sending is known for 2 messages.")
    assert section(page, "operators").endswith("The operator is known for 2 messages.")
    assert section(page, "senders").endswith("The sender is known for 2 messages.")
    assert "Оператор известен у 2\N{NO-BREAK SPACE}сообщений." in html_of(
        [record(1), record(2), record(3, **nameless)], language="ru"
    )
    assert "known for" not in text_of(html_of([record(1), record(2, 20)]))


def test_messages_of_too_many_days_are_said_to_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not shown day by day. They count elsewhere."""
    monkeypatch.setattr(tallies, "MOST_NAMES", 2)
    outcomes = [record(id, sent_at=SENT + timedelta(days=id)) for id in range(5)]
    page = html_of(outcomes)
    shown = section(page, "days")
    assert "known for" not in shown
    assert shown.endswith("There are more than 10,000 different days. Left out of further days: 3 messages.")
    assert "5 messages" in text_of(page)


def test_all_periods_follow_each_other_without_a_gap() -> None:
    days = [date(2025, 12, 30), date(2026, 3, 2)]
    assert period_of(days) is Period.WEEK
    assert Period.MONTH.all(days) == [date(2025, 12, 1), date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)]
    weeks = Period.WEEK.all(days)
    assert (weeks[0], weeks[-1], len(weeks)) == (date(2025, 12, 29), date(2026, 3, 2), 10)


# How long it takes.


def test_the_page_says_how_long_delivery_takes() -> None:
    """In all and for each operator."""
    outcomes = [record(id, took=id, operator="МТС" if id <= 50 else "Tele2") for id in range(1, 101)]
    shown = section(html_of(outcomes), "times")
    assert "Half arrive within 50 sec 90 in 100 within 1 min 30 sec 99 in 100 within 1 min 39 sec" in shown
    assert "All messages 50 sec 1 min 30 sec 1 min 39 sec 100" in shown
    assert "МТС 25 sec 45 sec 50 sec 50" in shown
    assert "Tele2 1 min 15 sec 1 min 35 sec 1 min 40 sec 50" in shown
    assert "From sending to delivery, over 100 messages." in shown


def test_an_operator_of_few_deliveries_has_no_curve() -> None:
    page = html_of([record(id, took=id) for id in range(1, 6)])
    assert "for each operator" not in section(page, "times")
    assert "МТС 3 sec 5 sec 5 sec 5" in section(page, "times")


def test_deliveries_at_unknown_times_are_said() -> None:
    assert "No message is known to be delivered at a known time." in section(html_of([record(1, 20)]), "times")


# What is missing.


@pytest.mark.parametrize(
    ("missing", "name", "sentence"),
    [
        ({"operator": None}, "operators", "The operators are left out: NAMES The level of detail extended gives them."),
        ({"sender_id": None}, "senders", "The senders are left out: NAMES The level of detail full gives them."),
        ({"cost": None}, "cost", "The cost is left out: the results do not have it. The level of detail full gives it"),
        ({"send_timestamp": None}, "days", "The days are left out: TIMES The level of detail full gives them."),
        ({"send_timestamp": None}, "times", "How long delivery takes is left out: TIMES The level of detail full"),
    ],
)
def test_a_section_that_the_level_of_detail_does_not_give_says_which_does(
    missing: dict[str, Any], name: str, sentence: str
) -> None:
    sentence = sentence.replace("NAMES", "the results do not name them.")
    sentence = sentence.replace("TIMES", "the results have no times of sending.")
    assert sentence in section(html_of([record(1, **missing)]), name)
    assert "left out" not in section(html_of([record(1)]), name)


def test_no_results_are_a_report() -> None:
    shown = text_of(html_of([]))
    assert "There are no messages in the results." in shown
    assert "Records: 0; messages and look-ups: 0." in shown
    assert "%" not in shown


@pytest.mark.parametrize("status", [1, 20, 0, -3, 99])
def test_one_message_is_a_report(status: int) -> None:
    assert "1 message" in text_of(html_of([record(1, status)]))


# Safety.


def test_what_others_wrote_is_text_and_no_html(tmp_path: Path) -> None:
    """Wherever it stands."""
    path = tmp_path / f"{HOSTILE.replace('/', '|')}.jsonl"
    address = f"aaaaa<b>@{HOSTILE.split(maxsplit=1)[0]}"
    outcomes: list[Outcome] = [
        record(1, operator=HOSTILE, sender_id=f"</style>{HOSTILE}", phone=address, message=HOSTILE),
        record(2, comment=HOSTILE, operator="\u202egnp.exe\x1b[2J", region=HOSTILE),
    ]
    page = html_of(written(path, outcomes), title=HOSTILE, full_phones=True)
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("</style>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_a_title_that_no_charset_can_write_is_shown_escaped() -> None:
    """A shell passes bytes that are no UTF-8 as halves of surrogate pairs."""
    assert "<h1>a\\udcff</h1>" in html_of([], title="a\udcff")


def test_texts_of_messages_are_not_shown() -> None:
    """They are nobody's business who looks at numbers."""
    assert "Your code" not in html_of([record(1, message="Your code is 1234", comment="Your code")])


def test_the_page_forbids_scripts_and_the_network() -> None:
    """Even if something hostile got in."""
    page = html_of(outcomes_of_a_world(50))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert not re.search(r"https?://|//\w|@import|url\(", page)
    assert '<link rel="icon" href="data:,">' in page  # otherwise a browser would ask the page's server for one


# The function.


def test_the_summary_has_the_numbers_of_the_page(tmp_path: Path) -> None:
    outcomes: list[Outcome] = [record(1), record(2, 20), record(3, 0), record(4, -3), look_up(5, 1, 0)]
    summary = report.write(outcomes, tmp_path / "r.html")
    assert summary == report.Summary(messages=4, delivered=1, failed=1, open=1, unknown=1, look_ups=1, bad_lines=0)
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")


def test_a_report_replaces_a_file_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or leaves it, with nothing beside it."""
    out = tmp_path / "r.html"
    out.write_text("before")

    def fail(*_: object) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="no room"):
            report.write([record(1)], out)
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    assert out.read_text() == "before"
    report.write([record(1)], out)
    assert out.read_text() != "before"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """Nor would a device be."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)  # also for writing, so that nobody waits for the other side
    try:
        report.write([record(1)], pipe)
        assert os.read(reader, 1 << 16).startswith(b"<!doctype html>")
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_report_in_russian_is_in_russian() -> None:
    shown = text_of(html_of(outcomes_of_a_world(100), language="ru"))
    assert "сообщений доставлено" in shown
    assert not re.search(r"\b(Delivered|messages|hr|min|sec|Mar)\b", shown)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"language": "de"}, "language 'de': expected en or ru"),
        ({"timezone": "UTC"}, "timezone 'UTC': expected a tzinfo"),
        ({"now": datetime(2026, 1, 1)}, "now datetime"),  # that is the test
    ],
)
def test_an_argument_that_can_not_be_is_refused_before_anything_is_read(
    options: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=expected):
        report.write([record(1)], tmp_path / "r.html", **options)
    assert not (tmp_path / "r.html").exists()


def test_results_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="results '7': expected a file, a list of outcomes, or a Table"):
        report.write(7, tmp_path / "r.html")  # type: ignore[arg-type]  # that is the test


def test_the_results_are_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "r.jsonl", [record(1)])
    (tmp_path / "link").symlink_to(path)
    for out in (path, tmp_path / "link"):
        with pytest.raises(ConfigError, match="expected another file than the results"):
            report.write(path, out)
    assert path.read_text().startswith('{"id": 1')


def test_the_present_is_when_it_is_made(tmp_path: Path) -> None:
    report.write([record(1)], tmp_path / "r.html")
    assert f"Made {datetime.now(UTC).astimezone(MOSCOW):%b}" in (tmp_path / "r.html").read_text()


def test_records_that_only_have_a_status_are_a_report() -> None:
    bare = bind(StatusRecord(status=1), MessageRef(1, "79990000000"), NOW, MOSCOW)
    assert "100% of the messages were delivered" in text_of(html_of([bare]))


@pytest.mark.parametrize("field", ["id", "operator", "sender_id"])
def test_a_phone_that_stands_in_another_column_is_shortened_there(field: str) -> None:
    given: Any = {"id": 1, field: "n79991234567"}
    outcome = record(given.pop("id"), phone="79991234567", **given)
    short, full = (section(html_of([outcome], full_phones=full), "slowest") for full in (False, True))
    assert "9991234567" not in short
    assert "n79991234567" in full


def test_an_address_without_a_name_is_not_shown_at_all() -> None:
    assert shortened("@79991234567") == "@799…67"


def test_more_errors_than_there_is_room_for_are_counted_together() -> None:
    """The rows of the table are together all messages whose check failed."""
    errors = [type(f"E{number}", (SmscError,), {})("no") for number in range(MOST_SHOWN + 2)]
    failed = [FailedCheck(MessageRef(number, "7"), error) for number, error in enumerate(errors)]
    assert "All others 2 " in section(html_of(failed), "reasons")


@pytest.mark.parametrize(
    ("costs", "shown"),
    [(("1", "100000"), "0.1%"), (("100000", "1"), "99.9%"), (("5", "-3"), None)],
    ids=["nearly nothing", "nearly all", "some are negative"],
)
def test_a_share_of_the_cost_is_never_shown_as_all_or_nothing_where_it_is_not(
    costs: tuple[str, str], shown: str | None
) -> None:
    delivered, failed = map(Decimal, costs)
    page = section(html_of([record(1, cost=delivered), record(2, 20, cost=failed)]), "cost")
    if shown is None:
        assert "%" not in page
    else:
        assert shown in page


def test_a_database_is_not_replaced_by_a_report(tmp_path: Path) -> None:
    out = tmp_path / "app.db"
    with contextlib.closing(sqlite3.connect(out)) as database:
        database.execute("CREATE TABLE messages (id)")
    before = out.read_bytes()
    with pytest.raises(ConfigError, match="not a database of SQLite"):
        report.write([record(1)], out)
    assert out.read_bytes() == before


def test_a_report_that_is_replaced_keeps_its_link_and_who_may_read_it(tmp_path: Path) -> None:
    out, link = tmp_path / "report.html", tmp_path / "latest.html"
    out.write_text("old")
    out.chmod(0o600)
    link.symlink_to(out)
    report.write([record(1)], link)
    assert link.is_symlink()
    assert out.read_bytes().startswith(b"<!doctype html>")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        report.write([record(1)], tmp_path / "none" / "report.html")
    assert caught.value.filename == str((tmp_path / "none").resolve())
