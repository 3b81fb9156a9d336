"""What is said of lines that can't be used."""

from __future__ import annotations

from smsc_status.cli._reports import MOST_KINDS, ONE_BY_ONE, LineReporter


def test_complaints_of_a_kind_are_one_line_after_the_first_ten() -> None:
    """With the count and its first line as the example; values and numbers make no kind of their own."""
    said: list[str] = []
    reporter = LineReporter(said.append, "in.csv")
    for number in range(2, 12):
        reporter(number, "no 'phone'")
    assert len(said) == ONE_BY_ONE
    for number in range(12, 10_000):
        kinds = [
            f"phone 'x{number}': expected a number with digits",
            f"phone \"'{number}\": looks like a spreadsheet's text cell; expected one number",
            f"{number} columns: expected 3, as in the header",
        ]
        reporter(number, kinds[number % 3])
    reporter(10_000, "too long")
    assert len(said) == ONE_BY_ONE
    reporter.sum_up()
    reporter.sum_up()
    assert said[:2] == ["in.csv, line 2: no 'phone'", "in.csv, line 3: no 'phone'"]
    spoilt = "looks like a spreadsheet's text cell; expected one number"
    assert said[10:] == [
        "in.csv, line 12, and 3,329 more lines like it: phone 'x12': expected a number with digits",
        f'in.csv, line 13, and 3,328 more lines like it: phone "\'13": {spoilt}',
        "in.csv, line 14, and 3,328 more lines like it: 14 columns: expected 3, as in the header",
        "in.csv, line 10000: too long",
    ]


def test_the_number_of_kinds_is_bounded() -> None:
    """Whatever comes."""
    said: list[str] = []
    reporter = LineReporter(said.append, "in.csv")
    for number in range(1000):
        reporter(number, "x" * (number + 1))
    reporter.sum_up()
    assert len(said) == ONE_BY_ONE + MOST_KINDS + 1
    assert said[-1].endswith("more lines like it: other reasons")


def test_one_more_line_is_said_as_one() -> None:
    said: list[str] = []
    reporter = LineReporter(said.append, "in.csv")
    for number in range(12):
        reporter(number, "too long")
    reporter.sum_up()
    assert said[-1] == "in.csv, line 10, and 1 more line like it: too long"
