"""URLs of servers: what they mean, and that no text shows a password."""

from __future__ import annotations

import ssl
import traceback
from pathlib import Path

import pytest
import trustme

from smsc_status._sharing.redis_connection import RIGHTS
from smsc_status._sharing.redis_url import _OPTIONS, _TLS_OPTIONS, parse_url
from smsc_status.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://localhost", "redis://localhost:6379/0"),
        ("redis://10.0.0.1:7000/3", "redis://10.0.0.1:7000/3"),
        ("redis://[::1]:7000", "redis://[::1]:7000/0"),
        ("redis://host?db=4", "redis://host:6379/4"),
        ("redis://host/4?db=4", "redis://host:6379/4"),
        ("valkey://:secret-word@host", "redis://host:6379/0"),
        ("rediss://user:secret-word@host", "rediss://host:6379/0"),
        ("valkeys://host", "rediss://host:6379/0"),
        ("redis://:secret-word@host:26379/1?sentinel=main", "redis://host:26379/1?sentinel=main"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("unix://:secret-word@/run/my%20redis.sock", "unix:///run/my redis.sock?db=0"),
    ],
)
def test_what_a_url_means(url: str, where: str) -> None:
    address = parse_url(url)
    assert address.where == where
    assert "secret-word" not in repr(address)
    assert bool(address.tls) == address.where.startswith("rediss")


def test_the_login_may_be_escaped() -> None:
    address = parse_url("redis://us%40er:p%2F%23%3F@host")
    assert (address.username, address.password) == ("us@er", "p/#?")
    assert not address.assume_idle
    assert parse_url("redis://host?assume_idle=1").assume_idle
    assert not parse_url("redis://host?assume_idle=0").assume_idle


@pytest.mark.parametrize(
    "url",
    [
        "http://:secret-word@host",
        "secret-word",
        "redis://:secret-word@",
        "redis://",
        "redis://:secret-word@host:port",
        "redis://:secret-word@host:99999",
        "redis://:secret-word/x@host",
        "redis://:secret-word#x@host",
        "redis://:x?secret-word@host",
        "redis://secret-word@host",
        "redis://:secret-word@[::1",
        "redis://:secret-word@host/seven",
        "redis://:secret-word@host?db=x",
        "redis://:secret-word@host/3?db=1",
        "redis://:secret-word@host/3?db=",
        "redis://:secret-word@host?assume_idle=yes",
        "redis://:secret-word@host?other=1",
        "redis://:secret-word@host?ssl_cert_reqs=none",
        "rediss://:secret-word@host?ssl_cert_reqs=maybe",
        "rediss://:secret-word@host?ssl_ca_certs=/no/such/file",
        "unix://:secret-word@host/path",
        "unix://:secret-word@",
        "redis://:secret-word@host:0",
        "redis://:secret-word@host?sentinel=",
        "redis://:secret-word\udcff@host",
    ],
)
def test_an_unusable_url_is_an_error_that_shows_no_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(url)
    text = "".join(traceback.format_exception(caught.value))
    assert "secret-word" not in str(caught.value)
    assert "expected" in str(caught.value) or "can't be loaded" in str(caught.value)
    assert caught.value.__context__ is None
    assert "secret-word" not in text.replace(url, "")


def test_the_options_of_tls(tmp_path: Path) -> None:
    """By default the certificate is verified."""
    authority = trustme.CA()
    own = authority.issue_cert("me")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "me.pem")
    default = parse_url(f"rediss://host?ssl_ca_certs={tmp_path}/ca.pem&ssl_certfile={tmp_path}/me.pem").tls
    assert default is not None
    assert default.verify_mode is ssl.CERT_REQUIRED
    assert default.check_hostname
    assert parse_url("rediss://host?ssl_cert_reqs=required").tls is not None
    unverified = parse_url("rediss://host?ssl_cert_reqs=none").tls
    assert unverified is not None
    assert unverified.verify_mode is ssl.CERT_NONE


def test_the_documented_rights_are_those_that_errors_name() -> None:
    page = (Path(__file__).parents[2] / "docs/howto/share-with-redis.md").read_text(encoding="utf-8")
    assert f"-@all {RIGHTS.partition(' (')[0]}\n" in page
    for option in (*_OPTIONS, *_TLS_OPTIONS):
        assert f"`{option}=" in page
