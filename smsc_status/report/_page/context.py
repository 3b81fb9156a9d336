"""What all sections of a page need to know."""

from __future__ import annotations

import attrs

from smsc_status._texts import one_line
from smsc_status.report._counting.figures import Figures
from smsc_status.report._page.language import Writer

MAX_NAME_CHARS = 60
MIN_HIDDEN = 4
MIN_DIGITS = 7
"""A text that has this many digits of a phone in a row shows the phone."""

SHOWN_FIRST, SHOWN_LAST = 4, 2


@attrs.frozen(kw_only=True)
class Context:
    """The figures, and how the page shows them.

    `source` is the name of what was read, and `is_table` whether that was a table of a database. `title` is the page's
    own, or empty. `full_phones` tells whether recipients are shown in full.
    """

    figures: Figures
    write: Writer
    source: str = ""
    is_table: bool = False
    title: str = ""
    full_phones: bool = False

    def name(self, text: str) -> str:
        """A name that others have given, in one line of bounded length."""
        return one_line(text, MAX_NAME_CHARS) if text.strip() else self.write.text("empty_name")

    def recipient(self, phone: str | None) -> str:
        """A phone or an e-mail address, shortened unless the page shows them in full."""
        shown = self.name(phone or "")
        return shown if self.full_phones or not phone else shortened(shown)

    def beside(self, text: str, phone: str | None) -> str:
        """A name that stands beside a recipient. It is shortened too if it has the recipient's digits in it."""
        digits = _digits(phone or "")
        has_phone = len(digits) >= MIN_DIGITS and digits in _digits(text)
        return shortened(self.name(text)) if has_phone and not self.full_phones else self.name(text)

    def detail(self, level: str, field: str) -> str:
        """Which level of detail has a field that is missing, or how a column of a table is named."""
        return self.write.text("column", field) if self.is_table else self.write.text(level)


def shortened(phone: str) -> str:
    """A phone with only its first four and last two characters, or an e-mail address with the first of its name.

    >>> shortened("79991234567"), shortened("anna@example.ru"), shortened("112")
    ('7999…67', 'a…@example.ru', '…')
    """
    name, at, domain = phone.rpartition("@")
    if at and name:
        return f"{name[:1]}…@{domain}"
    if len(phone) < SHOWN_FIRST + SHOWN_LAST + MIN_HIDDEN:
        return "…"
    return f"{phone[:SHOWN_FIRST]}…{phone[-SHOWN_LAST:]}"


def _digits(text: str) -> str:
    return "".join(filter(str.isdecimal, text))
