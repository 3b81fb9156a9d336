"""How ids and phones are written: invisible characters, and what spreadsheets make of numbers."""

from __future__ import annotations

import pytest

from smsc_status import ConfigError, MessageRef
from smsc_status._notation import spoilt_id, spoilt_phone, visible

PHONE = "79990000000"
INVISIBLE = [
    "\u00a0",
    "\u202f",
    "\u200e",
    "\u202a",
    "\u202b",
    "\u202c",
    "\u00ad",
    "\u200b",
    "\ufeff",
    "\u2060",
    "\u2009",
]
DASHES = ["\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2212"]

EXPONENT = "looks like a spreadsheet's scientific notation"
FRACTION = "looks like a number that was turned into a decimal fraction"
APOSTROPHE = "looks like a spreadsheet's text cell"
FORMULA = "looks like a spreadsheet's formula"
EMPTY = "looks like an empty cell"
ERROR = "looks like a spreadsheet's error"
SEVERAL = "looks like two or more numbers"

SPOILT_PHONES = [
    ("7.999E+10", EXPONENT),
    ("7,99900E+10", EXPONENT),
    ("7.999e10", EXPONENT),
    ("7999E7", EXPONENT),
    ("7.9Е+10", EXPONENT),  # a Cyrillic letter
    ("79990000007.0", FRACTION),
    ("79990000007,00", FRACTION),
    ("'79990000007", APOSTROPHE),
    ("\u201979990000007", APOSTROPHE),
    ('="79990000007"', FORMULA),
    ("nan", EMPTY),
    ("None", EMPTY),
    ("NULL", EMPTY),
    ("<NA>", EMPTY),
    ("#N/A", ERROR),
    ("#Н/Д", ERROR),
    ("########", ERROR),
    ("79990000001;79990000002", SEVERAL),
    ("79990000001; 79990000002", SEVERAL),
    ("79990000001 79990000002", SEVERAL),
    ("79990000001\u00a079990000002", SEVERAL),
    ("79990000001/79990000002", SEVERAL),
    ("79990000001 / 2", SEVERAL),
    ("79990000001|79990000002", SEVERAL),
    ("79990000001,79990000002", SEVERAL),
    ("79990000001\n79990000002", SEVERAL),
    ("1234567 1234568", SEVERAL),
    ("+1234 +5678", SEVERAL),
    ("8 999 000 00 01 и 8 999 000 00 02", SEVERAL),
    ("7" * 16, SEVERAL),
    ("79990000001 доб. 79990000002", SEVERAL),
]

GOOD_PHONES = [
    "1",
    "7" * 15,
    "8 (999) 000-00-00",
    "+7 (999) 000-00-00",
    "8-999-000-00-00",
    "+7.999.000.00.00",
    "7999 0000000",
    "030/1234567",
    "+49 (0)30 / 1234567",
    "tel:+79990000000",
    "tel:+79990000000;ext=12345",
    "8 (495) 123-45-67 доб. 12345",
    "8 (495) 123-45-67 вн. 1",
    "+7 495 1234567 ext. 12345",
    "+7 495 1234567 x12",
    "+7 495 1234567 #12",
    "79990000001;",
    "o'neil@example.com",
    "1.0E+5@example.com",
    "79990000001/79990000002@example.com",
    "'quoted'@example.com",
]

SPOILT_IDS = [
    ("12345.0", FRACTION),
    ("12345,00", FRACTION),
    ("1.2E+12", EXPONENT),
    ("1,2E+12", EXPONENT),
    ("1.2e12", EXPONENT),
    ("1E+12", EXPONENT),
    ("'12345", APOSTROPHE),
    ('="00123"', FORMULA),
    ("nan", EMPTY),
    ("NaT", EMPTY),
    ("None", EMPTY),
    ("#N/A", ERROR),
]

GOOD_IDS = ["0", "v1.0", "1.0.2", "1.05", "2024.01", "a-b.c", "12E5", "1e10", "12E-7", "nan-1", "none_", "x" * 40]


@pytest.mark.parametrize(("phone", "looks_like"), SPOILT_PHONES)
def test_a_spoilt_phone_is_refused_with_what_it_looks_like(phone: str, looks_like: str) -> None:
    """Rather than asked for as another number."""
    with pytest.raises(ConfigError, match=rf"^phone .*: {looks_like}.*; expected one number or e-mail address$"):
        MessageRef(1, phone)


@pytest.mark.parametrize("phone", GOOD_PHONES)
def test_a_phone_in_a_usual_notation_is_taken_as_it_is(phone: str) -> None:
    """Extensions are no second number; e-mail addresses are no numbers."""
    assert MessageRef(1, phone).phone == phone


@pytest.mark.parametrize(("id", "looks_like"), SPOILT_IDS)
def test_a_spoilt_id_is_refused_with_what_it_looks_like(id: str, looks_like: str) -> None:
    """Rather than asked for as a textual id, which nobody has."""
    with pytest.raises(ConfigError, match=rf"^id .*: {looks_like}.*; expected the id as it was sent$"):
        MessageRef(id, PHONE)


@pytest.mark.parametrize("id", GOOD_IDS)
def test_a_textual_id_that_only_resembles_a_number_is_taken_as_it_is(id: str) -> None:
    """Only what number formats make, and hardly anybody on purpose, is refused."""
    assert MessageRef(id, PHONE).id == id


@pytest.mark.parametrize("char", INVISIBLE + DASHES, ids=ascii)
def test_invisible_characters_around_digits_are_taken_out(char: str) -> None:
    """Of ids and phones alike: what is asked for, and compared, are the digits."""
    ref = MessageRef(f"{char}12{char}345{char}", f"{char}+7{char}999 000{char}{char}00-00{char}")
    assert (ref.id, ref.phone.replace("-", "").replace(" ", "")) == ("12345", "+79990000000")
    assert ref == MessageRef(12345, PHONE)


@pytest.mark.parametrize("char", INVISIBLE, ids=ascii)
def test_invisible_characters_around_letters_are_taken_out(char: str) -> None:
    """Of textual ids and e-mail addresses."""
    ref = MessageRef(f"{char}ab-{char}7", f"{char}me@example.com{char}")
    assert (ref.id, ref.phone) == ("ab-7", "me@example.com")


def test_dashes_beside_letters_stay_what_they_are() -> None:
    """Nobody knows what they mean in a textual id, which is refused."""
    assert visible("a\u20137") == "a\u20137"
    with pytest.raises(ConfigError, match="expected 1 to 40 Latin letters"):
        MessageRef("a\u20137", PHONE)


def test_dashes_beside_hyphens_become_hyphens() -> None:
    """Of one id with three parts they don't make one with two."""
    assert MessageRef("2026-11\u20117", PHONE).id == "2026-11-7"


def test_a_value_that_is_not_spoilt_looks_like_nothing_else() -> None:
    """Nothing is said of it."""
    assert spoilt_id("12345") is None
    assert spoilt_phone(PHONE) is None
