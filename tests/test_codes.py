"""The vendor's tables, whole and unmixed."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsc_status import codes
from smsc_status.codes import Channel, MessageType, Status, Title

SMS_ERRORS = [
    0, 1, 6, 11, 12, 13, 21, 200, 219, 220, 237, 238, 239, 240, 241, 242, 243, 244, 245, 246, 247, 248, 249, 250, 251,
    252, 253, 254, 255,
]  # fmt: skip
EMAIL_ERRORS = [0, 1, 2, 3, 4, 239, 245, 248, 249, 252, 253, 254, 255]


def test_the_tables_are_complete() -> None:
    """All 13 statuses, 29 errors of SMS and HLR, 13 of e-mail, 11 types and 5 request errors have their names."""
    assert sorted(codes.STATUSES) == sorted(Status) == [-3, -2, -1, 0, 1, 2, 3, 4, 20, 22, 23, 24, 25]
    assert sorted(codes.SMS_ERRORS) == SMS_ERRORS
    assert sorted(codes.EMAIL_ERRORS) == EMAIL_ERRORS
    assert sorted(codes.TYPES) == sorted(MessageType) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12]
    assert sorted(codes.REPLY_ERRORS) == [1, 2, 4, 5, 9]


@pytest.mark.parametrize("table", [codes.STATUSES, codes.SMS_ERRORS, codes.EMAIL_ERRORS])
def test_every_meaning_is_said_in_both_languages(table: dict[int, codes.Meaning]) -> None:
    """A title and a description stand in English and in Russian for every number."""
    for meaning in table.values():
        for text in (meaning.title, meaning.description):
            assert text.en.isascii()
            assert text.en
            assert text.ru


def test_the_final_and_the_delivered_statuses_are_the_vendor_s() -> None:
    """Final are 1 to 4 and 20 to 25, delivered are 1, 2 and 4; an unknown code is neither."""
    assert [status for status in range(-5, 40) if codes.is_final(status)] == [1, 2, 3, 4, 20, 22, 23, 24, 25]
    assert {Status.DELIVERED, Status.READ, Status.CLICKED} == codes.DELIVERED
    assert not codes.is_final(6)


@pytest.mark.parametrize(
    ("type", "channel"),
    [
        (0, Channel.SMS),
        (1, Channel.SMS),
        (2, Channel.SMS),
        (3, Channel.SMS),
        (4, Channel.HLR),
        (5, Channel.SMS),
        (6, Channel.MMS),
        (7, Channel.CALL),
        (8, Channel.EMAIL),
        (9, Channel.UNKNOWN),
        (10, Channel.VIBER),
        (11, Channel.UNKNOWN),
        (12, Channel.SOCIAL),
        (-1, Channel.UNKNOWN),
    ],
)
def test_the_channel_follows_from_the_type(type: int, channel: Channel) -> None:
    """Each type has its channel; a number that the vendor does not list has none."""
    assert codes.channel_of(type) is channel


def test_one_number_means_different_things_by_channel() -> None:
    """E-mail has its own error table, an unknown channel none, and all others share the one of SMS."""
    assert codes.error_title(Channel.SMS, 1) == Title("No such subscriber", "Абонент не существует")
    assert codes.error_title(Channel.EMAIL, 1) == Title("No such recipient", "Адресат не существует")
    assert codes.error_title(Channel.EMAIL, 6) is None
    assert codes.error_title(Channel.UNKNOWN, 1) is None
    for channel in set(Channel) - {Channel.EMAIL, Channel.UNKNOWN}:
        assert codes.error_meanings(channel) is codes.SMS_ERRORS


def test_an_unknown_number_has_no_title() -> None:
    """Numbers that no table holds give `None`, never an error."""
    assert codes.status_title(6) is None
    assert codes.error_title(Channel.SMS, 999) is None
    assert codes.reply_error_title(3) is None
    assert codes.type_title(9) is None


def test_a_known_number_has_a_title_in_both_languages() -> None:
    """A known number gives its title in both languages."""
    assert codes.status_title(-3) == Title("Not found", "Сообщение не найдено")
    assert codes.reply_error_title(9) == Title("Too many requests", "Слишком много запросов")
    assert codes.type_title(12) == Title("Social network", "Соцсети")


def test_codes_imports_nothing_of_the_project() -> None:
    """The tables stand alone."""
    assert "smsc_status" not in Path(codes.__file__).read_text(encoding="utf-8")
