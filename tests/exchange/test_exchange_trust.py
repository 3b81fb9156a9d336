"""Whom a connection trusts, and which certificates, transports, proxies and addresses are refused."""

from __future__ import annotations

import ssl
import sys
from math import inf
from pathlib import Path
from typing import Any

import httpx
import pytest
from exchange_support import CERTIFICATES, TRUST, on_route, serving
from helpers import PHONE, Answering

from smsc_status import ConfigError, StatusClient, TransportError
from smsc_status._runtime import http as module
from smsc_status._runtime.http import Reply
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio


async def test_verify_says_whom_to_trust() -> None:
    """A certificate authority of one's own; without it, nothing is sent."""
    async with serving("answer", tls=True) as server:
        url = f"https://localhost:{server.port}"
        async with StatusClient(apikey="k", base_url=url, retries=0) as client:
            with pytest.raises(TransportError, match=r"^no connection: (ConnectError|SSLCertVerificationError)"):
                await client.check(1, PHONE)
        assert server.asked == []
        async with StatusClient(apikey="k", base_url=url, verify=TRUST) as client:
            assert (await client.check(1, PHONE)).is_delivered
    assert server.asked == [b"POST /sys/status.php HTTP/1.1"]


async def test_ssl_cert_file_says_whom_to_trust(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By default, and beside `verify=True`."""
    CERTIFICATES.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with on_route("https", "answer", verify=True) as (_, opened):
        assert isinstance(await opened.post({"id": "1"}, messages=1, send_by=inf), Reply)


async def test_the_system_s_authorities_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside those of certifi: a company's own is usually installed there."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)

    def load(context: ssl.SSLContext) -> None:
        CERTIFICATES.configure_trust(context)

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", load)
    # The trust store is made once a process, by a private function with a cache.
    module._system_trust.cache_clear()
    try:
        async with on_route("https", "answer", verify=True) as (_, opened):
            assert isinstance(await opened.post({"id": "1"}, messages=1, send_by=inf), Reply)
    finally:
        module._system_trust.cache_clear()


@pytest.mark.parametrize("verify", [False, None, "/etc/ssl/ca.pem", 1, ssl.SSLContext])
def test_another_kind_of_verify_is_refused(verify: Any) -> None:
    with pytest.raises(ConfigError, match=r"verify .*: expected True, or an ssl\.SSLContext"):
        StatusClient(apikey="k", verify=verify)


def test_verify_is_refused_beside_a_transport() -> None:
    """It would be ignored silently."""
    with pytest.raises(ConfigError, match="verify beside transport"):
        StatusClient(apikey="k", verify=TRUST, transport=Answering(b""))


@pytest.mark.parametrize("value", [Emulator(), httpx.AsyncBaseTransport, httpx.HTTPTransport(), "https://proxy"])
def test_what_is_no_transport_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"transport .*: expected an httpx\.AsyncBaseTransport"):
        StatusClient(apikey="k", transport=value)


def test_certificates_that_are_not_there_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which names the variable."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(ConfigError, match=r"^SSL_CERT_FILE '/nowhere/ca\.pem'"):
        StatusClient(apikey="k")


@pytest.mark.parametrize("url", ["socks5://localhost:1080", "socks5h://me:hidden@localhost:1080"])
def test_a_socks_proxy_without_its_package_is_an_error_that_names_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package, and the argument or the variable."""
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ConfigError, match=r"^proxy: .*socksio.*httpx\[socks\]") as caught:
        StatusClient(apikey="k", proxy=url)
    assert "hidden" not in str(caught.value)
    monkeypatch.setenv("ALL_PROXY", url)
    with pytest.raises(ConfigError, match=r"^ALL_PROXY: .*socksio.*httpx\[socks\]") as caught:
        StatusClient(apikey="k")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://me:hidden@proxy", "http://me:hidden@x:port", "socks://me:hidden@x", 5])
def test_a_proxy_that_can_not_be_used_is_an_error_without_its_password(
    url: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its password is not shown: the error is chained to nothing, and names the argument or the variable."""
    with pytest.raises(ConfigError, match=r"^proxy: ") as caught:
        StatusClient(apikey="k", proxy=url)
    assert caught.value.__context__ is caught.value.__cause__ is None
    monkeypatch.setenv("https_proxy", str(url) if isinstance(url, str) else "5://")
    with pytest.raises(ConfigError, match=r"^HTTPS_PROXY: ") as caught:
        StatusClient(apikey="k")
    assert caught.value.__context__ is caught.value.__cause__ is None
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://\u2603.net", "https://smsc.ru/\x00"])
def test_an_address_that_httpx_does_not_take_is_an_error(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^URL: "):
        StatusClient(apikey="k", base_url=url)
