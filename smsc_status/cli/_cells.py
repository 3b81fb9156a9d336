"""Cells of CSV: written so that no spreadsheet runs them, and read as spreadsheets write them."""

from __future__ import annotations

import re

_STARTS_FORMULA = frozenset("=+-@\t\r＝＋－＠")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_TEXT_FORMULA = re.compile(r'="(.*)"', re.DOTALL)


def guarded(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: one that could be has an apostrophe in front.

    A number stays as it is, also a negative one (-3) and a phone with a plus in front of its digits: a spreadsheet has
    nothing to run in it.

    >>> guarded("=HYPERLINK(A1)"), guarded("+7 (999) 000-00-00"), guarded("+79990000000"), guarded("-3")
    ("'=HYPERLINK(A1)", "'+7 (999) 000-00-00", '+79990000000', '-3')
    """
    return f"'{text}" if text[:1] in _STARTS_FORMULA and not _NUMBER.fullmatch(text) else text


def unguarded(text: str) -> str:
    """What `guarded` was given."""
    return text[1:] if text[:1] == "'" and text[1:2] in _STARTS_FORMULA else text


def value_of(text: str) -> str:
    """What is in an input's cell: without the form in which spreadsheets keep zeros (`="00123"`), nor a guard."""
    text = text.strip()
    found = _TEXT_FORMULA.fullmatch(text)
    return unguarded(found[1].strip() if found else text)
