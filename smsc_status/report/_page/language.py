"""Writes numbers, dates, durations and plurals as the language does, by the CLDR data of Babel."""

from __future__ import annotations

from datetime import date, datetime, tzinfo
from decimal import Context, Decimal, localcontext
from enum import StrEnum

from babel import Locale
from babel.dates import format_date, format_skeleton, format_time
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit

from smsc_status.codes import Title
from smsc_status.report._page.words import COUNTED, TEXTS

MINUTE, HOUR, DAY = 60, 3600, 86_400
MOST_DIGITS = 150


class Language(StrEnum):
    """A language of reports."""

    EN = "en"
    RU = "ru"


class Writer:
    """Writes in one language.

    Args:
        language: the language.
        zone: the zone of dates.
    """

    def __init__(self, language: Language, zone: tzinfo) -> None:
        self.language = language
        self._locale = Locale.parse(language.value)
        self._zone = zone

    @property
    def vega_locale(self) -> str:
        """The name by which Vega knows how numbers are written."""
        return {Language.EN: "en-US", Language.RU: "ru-RU"}[self.language]

    def of(self, title: Title) -> str:
        """The title in this language."""
        return title.ru if self.language is Language.RU else title.en

    def text(self, key: str, *values: str) -> str:
        """A text of the page, with these values in the places for them."""
        return self.of(TEXTS[key]).format(*values)

    def number(self, value: int) -> str:
        """A whole number."""
        return str(format_decimal(value, locale=self._locale))

    def counted(self, noun: str, count: int) -> str:
        """A number and a noun in the form that belongs to it."""
        forms = COUNTED[noun][self.language]
        return f"{self.number(count)}\N{NO-BREAK SPACE}{forms[self._locale.plural_form(count)]}"

    def share(self, part: int, whole: int) -> str:
        """A part of a whole in per cent with one digit. What is not all is not shown as all, nor a few as nothing."""
        if not whole:
            return "–"
        tenths = round(1000 * part / whole)
        tenths = min(tenths, 999) if part < whole else tenths
        tenths = max(tenths, 1) if part else tenths
        pattern = self._locale.percent_formats[None].pattern.replace("#,##0", "#,##0.0")
        return str(format_percent(tenths / 1000, format=pattern if tenths % 1000 else None, locale=self._locale))

    def round_share(self, share: float) -> str:
        """A share of 1 in whole per cent, or with digits as far as it has them."""
        pattern = self._locale.percent_formats[None].pattern.replace("#,##0", "#,##0.##")
        return str(format_percent(share, format=pattern, locale=self._locale))

    def money(self, value: Decimal) -> str:
        """An amount with all of its digits, and at least two after the point."""
        with localcontext(Context(prec=MOST_DIGITS)):
            return str(
                format_decimal(value.normalize(), format="#,##0.00", locale=self._locale, decimal_quantization=False)
            )

    def rounded_money(self, value: Decimal) -> str:
        """An amount with two digits after the point, or with four if it is below 1."""
        return str(format_decimal(value, format="#,##0.00" if abs(value) >= 1 else "#,##0.00##", locale=self._locale))

    def duration(self, seconds: float) -> str:
        """A duration in its two largest units."""
        whole = round(seconds)
        for size, name, smaller, small_name in (
            (DAY, "day", HOUR, "hour"),
            (HOUR, "hour", MINUTE, "minute"),
            (MINUTE, "minute", 1, "second"),
        ):
            if whole >= size:
                first, rest = divmod(whole, size)
                second = rest // smaller
                return (
                    f"{self._unit(first, name)} {self._unit(second, small_name)}" if second else self._unit(first, name)
                )
        return self._unit(whole, "second")

    def _unit(self, value: int, name: str) -> str:
        # CLDR writes a full stop after some Russian units of the short form.
        text = str(format_unit(value, f"duration-{name}", length="short", locale=self._locale))
        return text.replace(" ", "\N{NO-BREAK SPACE}").rstrip(".")

    def day(self, day: date) -> str:
        """A date with its year."""
        return str(format_date(day, "medium", locale=self._locale))

    def short_day(self, day: date) -> str:
        """A date without its year."""
        return str(format_skeleton("MMMd", day, locale=self._locale))

    def month(self, day: date) -> str:
        """The month of a date, with its year."""
        return str(format_skeleton("yMMM", day, locale=self._locale))

    def moment(self, at: datetime) -> str:
        """A date and time of day, to the minute."""
        local = at.astimezone(self._zone)
        return f"{self.day(local.date())}, {format_time(local, 'HH:mm', locale=self._locale)}"

    def zone_name(self) -> str:
        """The name of the zone of dates."""
        return str(self._zone)
