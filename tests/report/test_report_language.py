"""Numbers, dates, durations and plurals, as the two languages write them."""

from __future__ import annotations

import string
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from babel import Locale

from smsc_status import errors
from smsc_status.codes import Channel
from smsc_status.models import MOSCOW
from smsc_status.report._page.language import Language, Writer
from smsc_status.report._page.words import CHANNELS, CHECK_ERRORS, COUNTED, TEXTS

EN, RU = Writer(Language.EN, MOSCOW), Writer(Language.RU, MOSCOW)
AT = datetime(2026, 3, 9, 21, 30, tzinfo=UTC)


def plain(text: str) -> str:
    """With ordinary spaces."""
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("seconds", "english", "russian"),
    [
        (0, "0 sec", "0 с"),
        (59.6, "1 min", "1 мин"),
        (61, "1 min 1 sec", "1 мин 1 с"),
        (3600, "1 hr", "1 ч"),
        (7265, "2 hr 1 min", "2 ч 1 мин"),
        (86_400, "1 day", "1 дн"),
        (2 * 86_400 + 3 * 3600 + 59, "2 days 3 hr", "2 дн 3 ч"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, english: str, russian: str) -> None:
    assert (plain(EN.duration(seconds)), plain(RU.duration(seconds))) == (english, russian)


@pytest.mark.parametrize(
    ("part", "whole", "english", "russian"),
    [
        (1, 3, "33.3%", "33,3 %"),
        (0, 5, "0%", "0 %"),
        (5, 5, "100%", "100 %"),
        (99_999, 100_000, "99.9%", "99,9 %"),
        (1, 100_000, "0.1%", "0,1 %"),
        (0, 0, "–", "–"),
    ],
)
def test_a_share_is_never_shown_as_all_or_nothing_where_it_is_not(
    part: int, whole: int, english: str, russian: str
) -> None:
    assert (plain(EN.share(part, whole)), plain(RU.share(part, whole))) == (english, russian)


@pytest.mark.parametrize(
    ("value", "english", "russian"),
    [
        ("0", "0.00", "0,00"),
        ("5.5", "5.50", "5,50"),
        ("1234567.500", "1,234,567.50", "1 234 567,50"),
        ("-0.00000000000000000001", "-0.00000000000000000001", "-0,00000000000000000001"),
        (f"{'9' * 30}.{'1' * 20}", f"{'999,' * 9}999.{'1' * 20}", f"{'999 ' * 9}999,{'1' * 20}"),
    ],
)
def test_an_amount_has_all_of_its_digits(value: str, english: str, russian: str) -> None:
    assert (plain(EN.money(Decimal(value))), plain(RU.money(Decimal(value)))) == (english, russian)


def test_an_amount_for_one_message_is_rounded() -> None:
    assert [EN.rounded_money(Decimal(1) / 3), EN.rounded_money(Decimal(20) / 3)] == ["0.3333", "6.67"]


@pytest.mark.parametrize(
    ("count", "english", "russian"),
    [
        (0, "0 messages", "0 сообщений"),
        (1, "1 message", "1 сообщение"),
        (2, "2 messages", "2 сообщения"),
        (5, "5 messages", "5 сообщений"),
        (11, "11 messages", "11 сообщений"),
        (21, "21 messages", "21 сообщение"),
        (1_000_022, "1,000,022 messages", "1 000 022 сообщения"),
    ],
)
def test_a_noun_has_the_form_of_its_number(count: int, english: str, russian: str) -> None:
    assert (plain(EN.counted("messages", count)), plain(RU.counted("messages", count))) == (english, russian)


def test_dates_are_of_the_language_and_the_zone() -> None:
    assert (plain(EN.moment(AT)), plain(RU.moment(AT))) == ("Mar 10, 2026, 00:30", "10 мар. 2026 г., 00:30")
    day = date(2026, 3, 9)
    assert [plain(writer.short_day(day)) for writer in (EN, RU)] == ["Mar 9", "9 мар."]
    assert [plain(writer.month(day)) for writer in (EN, RU)] == ["Mar 2026", "март 2026 г."]
    assert EN.zone_name() == "MSK"


def places(text: str) -> int:
    return sum(field is not None for _, field, *_ in string.Formatter().parse(text))


def test_every_text_is_there_in_both_languages_with_the_same_places() -> None:
    """The Russian ones in Cyrillic letters, but for names that are the same in both."""
    for key, title in TEXTS.items():
        places = [
            sum(field is not None for _, field, *_ in string.Formatter().parse(text)) for text in (title.en, title.ru)
        ]
        assert places[0] == places[1], key
        assert title.en
        assert title.ru
        is_word = any(letter.isalpha() for letter in title.en) and key != "id"
        assert any("а" <= letter <= "я" for letter in title.ru.casefold()) == is_word, key


def test_every_form_of_a_language_is_there() -> None:
    for noun, languages in COUNTED.items():
        for language, forms in languages.items():
            locale = Locale.parse(language)
            assert {locale.plural_form(count) for count in range(200)} <= set(forms), noun


def test_every_channel_has_a_name() -> None:
    assert set(CHANNELS) == set(Channel)


def test_the_errors_that_have_a_name_exist() -> None:
    assert all(issubclass(getattr(errors, name), errors.SmscError) for name in CHECK_ERRORS)
