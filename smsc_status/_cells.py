"""Writes cells of CSV so that no spreadsheet runs them as formulas, and reads cells as spreadsheets write them."""

from __future__ import annotations

import re

_STARTS_FORMULA = frozenset("=+-@\t\r＝＋－＠")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_TEXT_FORMULA = re.compile(r'="(.*)"', re.DOTALL)


def guarded(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula: with an apostrophe in front, if it could be one.

    A number stays as it is, even a negative one (-3) or a phone with a plus before its digits: it is no formula.

    >>> guarded("=HYPERLINK(A1)"), guarded("+7 (999) 000-00-00"), guarded("+79990000000"), guarded("-3")
    ("'=HYPERLINK(A1)", "'+7 (999) 000-00-00", '+79990000000', '-3')
    """
    return f"'{text}" if text[:1] in _STARTS_FORMULA and not _NUMBER.fullmatch(text) else text


def unguarded(text: str) -> str:
    """The text that `guarded` was given."""
    return text[1:] if text[:1] == "'" and text[1:2] in _STARTS_FORMULA else text


def value_of(text: str) -> str:
    """The text in a cell of an input, without the guard or the `="00123"` by which spreadsheets keep zeros."""
    text = text.strip()
    found = _TEXT_FORMULA.fullmatch(text)
    return unguarded(found[1].strip() if found else text)
