"""Texts that others wrote, made safe to show."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsc_status._texts import MAX_CHARS, in_json, one_line, without_controls

UNSAFE = ["\x00", "\x07", "\x1b", "\r", "\x7f", "\x9b", "\u2028", "\u202e", "\u2066", "\ud83d"]
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))


@pytest.mark.parametrize("char", UNSAFE, ids=ascii)
def test_a_control_character_becomes_an_escape(char: str) -> None:
    """In a line, in a cell and in JSON."""
    text = f"a{char}b"
    for shown in (one_line(text), without_controls(text), in_json(json.dumps(text, ensure_ascii=False))):
        assert char not in shown
        assert "\\" in shown


def test_letters_spaces_and_emoji_stay() -> None:
    """They move no cursor."""
    text = "Привет\u00a0мир, \U0001f468\u200d\U0001f469 – ¿qué?"
    assert one_line(text) == without_controls(text) == in_json(text) == text


def test_a_cell_keeps_its_lines_and_tabs() -> None:
    """A line that is shown does not."""
    assert without_controls("a\tb\nc\r") == "a\tb\nc\\r"
    assert one_line("a\tb\nc\r") == "a\\tb\\nc\\r"


@given(ANY_TEXT)
def test_json_keeps_its_value(text: str) -> None:
    """Whatever is in it."""
    assert json.loads(in_json(json.dumps(text, ensure_ascii=False))) == text


@given(ANY_TEXT, st.integers(1, 20))
def test_a_line_is_bounded_and_shown_again_unchanged(text: str, most: int) -> None:
    """So an error that is copied keeps its text."""
    shown = one_line(text, most)
    assert len(shown) <= most
    assert one_line(shown, most) == shown


def test_megabytes_of_text_are_cut() -> None:
    """Unless the length is said not to matter."""
    assert len(one_line("x" * 2_000_000)) == MAX_CHARS
    assert one_line("x" * 2000, None) == "x" * 2000
