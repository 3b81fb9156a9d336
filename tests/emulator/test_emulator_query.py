"""A query is read as the vendor's page describes it."""

from urllib.parse import urlencode

import pytest

from smsc_status.emulator import Kind
from smsc_status.emulator._query import Query, read_query
from smsc_status.models import Detail, Format


def query(**fields: str) -> Query:
    return read_query(urlencode({"id": "1", "phone": "79990000000"} | fields).encode())


def test_the_defaults_are_those_of_the_page() -> None:
    read = query()
    assert read.is_valid
    assert (read.format, read.detail, read.charset) == (Format.PLAIN, Detail.BASIC, "windows-1251")
    assert read.messages == (("1", "79990000000"),)
    assert read.ids == {1}
    assert read.kind is Kind.SINGLE


def test_every_parameter_is_read() -> None:
    read = query(fmt="3", all="2", charset="UTF-8", login="me", psw="secret", apikey="k", other="x")
    assert (read.format, read.detail, read.charset) == (Format.JSON, Detail.EXTENDED, "utf-8")
    assert read.credentials == {"login": "me", "psw": "secret", "apikey": "k"}
    assert "secret" not in repr(read)
    assert query(**{"del": "1"}).kind is Kind.DELETE


def test_level_3_is_read_as_the_highest_there_is() -> None:
    """As clients in use rely on it."""
    assert (query(all="3").is_valid, query(all="3").detail) == (True, Detail.EXTENDED)


def test_credentials_that_are_empty_are_not_given() -> None:
    assert query(login="", psw="key", apikey="").credentials == {"psw": "key"}


def test_a_multipart_form_makes_the_same_query() -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="id"\r\n\r\n1\r\n--b--\r\n'
    read = read_query(b"phone=79990000000&id=2", form, "multipart/form-data; boundary=b")
    assert read == read_query(b"phone=79990000000&id=1")


def test_a_form_overrules_the_address() -> None:
    assert read_query(b"id=1&phone=7999&fmt=1", b"fmt=3").format is Format.JSON


def test_empty_switches_are_the_defaults() -> None:
    assert query(fmt="", all="", charset="", **{"del": ""}).is_valid


@pytest.mark.parametrize(
    ("ids", "phones", "messages"),
    [
        ("1,", "7999,", [("1", "7999")]),
        ("1,", "7999", [("1", "7999")]),
        ("1", "7999,", [("1", "7999")]),
        ("1,2", "7999,7998", [("1", "7999"), ("2", "7998")]),
        ("1,2,", "7999,7998,", [("1", "7999"), ("2", "7998")]),
    ],
)
def test_a_comma_makes_a_bulk_request(ids: str, phones: str, messages: list[tuple[str, str]]) -> None:
    read = query(id=ids, phone=phones)
    assert read.is_valid
    assert read.kind is Kind.BULK
    assert list(read.messages) == messages


def test_ids_are_counted_by_their_number_or_without_regard_to_case() -> None:
    assert query(id="7,007,Ab,aB", phone="1,2,3,4").ids == {7, "ab"}


@pytest.mark.parametrize("id", ["1", "2147483647", "007", "0" * 39 + "7", "a.b-C_9", "9" * 39 + "x", "x" * 40])
def test_an_id_is_a_number_or_forty_plain_characters(id: str) -> None:
    assert query(id=id).is_valid


def test_an_id_of_digits_above_the_largest_number_is_an_error_in_every_length() -> None:
    for digits in range(10, 42):
        assert not query(id=str(2147483648 * 10 ** (digits - 10))).is_valid, digits
        assert not query(id="9" * digits).is_valid, digits
        assert not query(id="2147483648".zfill(digits)).is_valid, digits


@pytest.mark.parametrize("id", ["", "0", "000", "a b", "я", "x" * 41, "9" * 5000, "-1,0", "\u0661"])
def test_another_id_costs_the_whole_request(id: str) -> None:
    assert not query(id=id).is_valid
    assert not query(id=f"1,{id},2", phone="7999,7998,7997").is_valid


@pytest.mark.parametrize("phone", ["79990000000", "+7 (999) 000-00-00", "8.999", "a@b.ru", " a@b "])
def test_a_phone_is_a_number_in_any_notation_or_an_e_mail_address(phone: str) -> None:
    assert query(phone=phone).is_valid


@pytest.mark.parametrize("phone", ["", "+", "7999x", "1" * 16, "@", "a b@c", "a@"])
def test_another_phone_costs_the_whole_request(phone: str) -> None:
    assert not query(phone=phone).is_valid
    assert not query(id="1,2", phone=f"7999,{phone}").is_valid


@pytest.mark.parametrize(
    "fields",
    [
        {"fmt": "4"},
        {"fmt": "x"},
        {"all": "4"},
        {"all": "-1"},
        {"del": "2"},
        {"charset": "latin-1"},
        {"id": "1,2"},
        {"phone": "7999,7998"},
    ],
)
def test_a_parameter_out_of_range_is_invalid_and_read_as_the_default(fields: dict[str, str]) -> None:
    read = query(**fields)
    assert not read.is_valid
    assert (read.format, read.detail, read.charset) == (Format.PLAIN, Detail.BASIC, "windows-1251")


@pytest.mark.parametrize("charset", ["utf-8", "windows-1251"])
def test_values_are_read_in_either_charset(charset: str) -> None:
    form = urlencode({"login": "Пётр"}, encoding=charset).encode()
    assert read_query(form).credentials == {"login": "Пётр"}


def test_any_bytes_make_a_query() -> None:
    assert not read_query(b"\xff\x00%", b"&&=%zz=%98").is_valid
