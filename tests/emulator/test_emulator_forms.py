"""A form is read as PHP reads it, from the bytes that the clients in use write."""

from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsc_status.emulator._forms import read_form

FIELDS = {"login": "", "psw": "demo-key", "fmt": "3", "charset": "utf-8", "id": "1,2,", "phone": "79990000000,a@b.ru,"}


def multipart(boundary: str, *, before: str = "", after: str = "", quote: str = '"', end: str = "--\r\n") -> bytes:
    """The fields as parts; the headers of a part besides its disposition come before or after that."""
    parts = (
        f"--{boundary}\r\n{before}Content-Disposition: form-data; name={quote}{name}{quote}{after}\r\n\r\n{value}\r\n"
        for name, value in FIELDS.items()
    )
    return f"{''.join(parts)}--{boundary}{end}".encode()


def part(name: str, value: bytes, headers: str = "") -> bytes:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n{headers}\r\n'.encode() + value + b"\r\n"


def read(*parts: bytes) -> dict[str, str]:
    return read_form(b"".join(parts) + b"--B--\r\n", "multipart/form-data; boundary=B")


NODE = "-" * 26 + "470346927419250123471983"


@pytest.mark.parametrize(
    ("boundary", "body"),
    [
        pytest.param(NODE, multipart(NODE), id="form-data of Node, which the vendor's library uses"),
        pytest.param("0123456789abcdef" * 2, multipart("0123456789abcdef" * 2), id="requests"),
        pytest.param("-" * 24 + "d1e0", multipart("-" * 24 + "d1e0"), id="curl, and PHP's with an array"),
        pytest.param("af", multipart("af", before="Content-Type: text/plain; charset=utf-8\r\n"), id="aiohttp"),
        pytest.param('"a-f"', multipart("a-f", before="Content-Type: text/plain\r\n", quote=""), id=".NET"),
        pytest.param("a", multipart("a", after="\r\nContent-Length: 1"), id="a length in each part"),
        pytest.param("a", multipart("a", end="--"), id="no newline at the end"),
        pytest.param("a", b"preamble\r\n" + multipart("a") + b"epilogue", id="text around it"),
    ],
)
def test_a_multipart_form_has_the_fields_that_its_client_wrote(boundary: str, body: bytes) -> None:
    assert read_form(body, f"multipart/form-data; boundary={boundary}") == FIELDS


def test_a_multipart_form_is_read_as_httpx_writes_it() -> None:
    request = httpx.Request("POST", "http://localhost", files={name: (None, value) for name, value in FIELDS.items()})
    assert read_form(request.read(), request.headers["content-type"]) == FIELDS


def test_a_url_encoded_form_is_read_whatever_its_case_and_charset_parameter() -> None:
    body = urlencode(FIELDS).encode()
    assert read_form(body, "Application/X-WWW-Form-URLencoded; charset=UTF-8") == FIELDS
    assert read_form(body, "") == FIELDS


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/mixed; boundary=B"])
def test_a_body_of_another_type_has_no_fields(content_type: str) -> None:
    assert read_form(part("id", b"1") + b"--B--\r\n&id=1&", content_type) == {}


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=C"])
def test_a_multipart_form_without_its_boundary_has_no_fields(content_type: str) -> None:
    assert read_form(part("id", b"1"), content_type) == {}


def test_the_last_of_several_fields_counts() -> None:
    assert read(part("id", b"1"), part("id", b"2")) == {"id": "2"}
    assert read_form(b"id=1&id=2") == {"id": "2"}


def test_a_value_is_kept_byte_for_byte() -> None:
    value = " \r\n--b\r\n\rx\n "
    assert read(part("psw", value.encode())) == {"psw": value}


def test_a_transfer_encoding_is_not_looked_at() -> None:
    assert read(part("psw", b"MQ==", "Content-Transfer-Encoding: base64\r\n")) == {"psw": "MQ=="}


@pytest.mark.parametrize("charset", ["utf-8", "windows-1251"])
def test_values_are_read_in_either_charset(charset: str) -> None:
    assert read(part("login", "Пётр".encode(charset))) == {"login": "Пётр"}
    assert read_form(urlencode({"login": "Пётр"}, encoding=charset).encode()) == {"login": "Пётр"}


def test_an_uploaded_file_is_no_field() -> None:
    file = b'--B\r\nContent-Disposition: form-data; name="id"; filename="id.txt"\r\n\r\n1\r\n'
    nested = part("id", b"--C\r\n\r\n1\r\n--C--", "Content-Type: multipart/mixed; boundary=C\r\n")
    assert read(file, nested, b"--B\r\n\r\nno name\r\n", part("fmt", b"3")) == {"fmt": "3"}


def test_a_form_cut_short_has_the_fields_that_came() -> None:
    assert read_form(part("id", b"1") + part("phone", b"7999")[:-2], "multipart/form-data; boundary=B") == {
        "id": "1",
        "phone": "7999",
    }


@pytest.mark.parametrize(
    "body",
    [
        b"--B\r\nContent-Disposition: form-data; name=id; name*0=a; name*1*=%ff; name*=x\r\n\r\n1\r\n--B--\r\n",
        b"--B\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * 5000,
    ],
    ids=["headers that contradict themselves", "thousands of messages within each other"],
)
def test_a_body_that_the_parser_trips_over_has_no_fields(body: bytes) -> None:
    assert read_form(body, "multipart/form-data; boundary=B") == {}


@given(st.binary(), st.sampled_from(["", "; boundary=B", '; boundary="', "; boundary*=x", "; boundary=\xff"]))
def test_any_bytes_make_a_form(body: bytes, boundary: str) -> None:
    for form in (body, b"--B\r\nContent-Disposition: form-data; name=" + body):
        fields = read_form(form, f"multipart/form-data{boundary}")
        assert all(isinstance(text, str) for field in fields.items() for text in field)
