"""Cells of CSV: what spreadsheets do with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsc_status._cells import guarded, unguarded, value_of


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        '=HYPERLINK("http://x")',
        "+1+1",
        "-1+cmd|' /C calc'!A0",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "＝1",
        "-",
        "+7 (999) 0",
    ],
)
def test_a_formula_is_kept_from_running(text: str) -> None:
    """By the apostrophe that makes a text of it."""
    assert guarded(text) == f"'{text}"
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize(
    "text", ["-3", "+79990000000", "-1.5", "79990000000", "", "a=b", "me@example.com", "'x", "Привет"]
)
def test_a_cell_that_is_no_formula_stays_as_it_is(text: str) -> None:
    """Numbers, negative ones too, and phones with a plus."""
    assert guarded(text) == unguarded(text) == text


@given(st.text().filter(lambda text: not text.startswith("'")))
def test_a_guard_can_be_taken_off(text: str) -> None:
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [(' ="00123" ', "00123"), ('=" 7 "', "7"), ("'+7 (999) 0", "+7 (999) 0"), ("'7", "'7"), ("=1", "=1"), (" a ", "a")],
)
def test_the_value_of_a_cell_is_read_without_its_guard(text: str, value: str) -> None:
    """Without what keeps a spreadsheet from changing it."""
    assert value_of(text) == value
