"""The proxy that the environment names, and what goes without one."""

from __future__ import annotations

import pytest

from smsc_status._runtime.account import Secret
from smsc_status._runtime.proxies import Proxy, environment_proxy

SOMEWHERE = "http://127.0.0.1:3128"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("environment", "url", "proxy", "named_by"),
    [
        ({"https_proxy": SOMEWHERE}, "https://smsc.ru", SOMEWHERE, "HTTPS_PROXY"),
        ({"https_proxy": "127.0.0.1:3128"}, "https://smsc.ru", SOMEWHERE, "HTTPS_PROXY"),
        ({"ALL_PROXY": SOMEWHERE}, "https://smsc.ru", SOMEWHERE, "ALL_PROXY"),
        ({"http_proxy": SOMEWHERE, "all_proxy": "http://x"}, "http://smsc.ru", SOMEWHERE, "HTTP_PROXY"),
    ],
)
def test_the_environment_s_proxy_is_found_by_the_scheme(
    environment: dict[str, str], url: str, proxy: str, named_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the scheme, else the one for all; and which variable that was."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = environment_proxy(url)
    assert found is not None
    assert (found.url.reveal(), found.named_by) == (proxy, named_by)


def test_there_is_no_proxy_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment_proxy("https://smsc.ru") is None
    monkeypatch.setenv("http_proxy", SOMEWHERE)
    assert environment_proxy("https://smsc.ru") is None


@pytest.mark.parametrize(
    ("no_proxy", "url", "goes_without"),
    [
        ("*", "https://smsc.ru", True),
        ("localhost, *", "https://smsc.ru", True),
        ("", "https://smsc.ru", False),
        (" , ,", "https://smsc.ru", False),
        (".", "https://smsc.ru", False),
        # Names.
        ("smsc.ru", "https://smsc.ru", True),
        ("SMSC.ru", "https://smsc.RU", True),
        ("smsc.ru", "https://www2.smsc.ru", True),
        (".smsc.ru", "https://smsc.ru", True),
        (".smsc.ru", "https://www2.smsc.ru", True),
        ("*.smsc.ru", "https://www2.smsc.ru", True),
        ("smsc.ru.", "https://smsc.ru", True),
        ("smsc.ru", "https://smsc.ru.", True),
        ("localhost,smsc.ru", "https://smsc.ru", True),
        ("localhost smsc.ru", "https://smsc.ru", True),
        ("sc.ru", "https://smsc.ru", False),
        ("www.smsc.ru", "https://smsc.ru", False),
        # With ports.
        ("smsc.ru", "https://smsc.ru:8443", True),
        ("smsc.ru:8443", "https://smsc.ru:8443", True),
        ("smsc.ru:443", "https://smsc.ru", True),
        ("smsc.ru:80", "https://smsc.ru", False),
        ("localhost:8025", "http://localhost:8025", True),
        ("localhost:8026", "http://localhost:8025", False),
        ("localhost:port", "http://localhost:8025", False),
        ("localhost:80", "http://localhost", True),
        # Addresses.
        ("127.0.0.1", "http://127.0.0.1:8025", True),
        ("127.0.0.1:8025", "http://127.0.0.1:8025", True),
        ("127.0.0.1:8026", "http://127.0.0.1:8025", False),
        ("127.0.0.2", "http://127.0.0.1:8025", False),
        ("localhost", "http://127.0.0.1:8025", False),
        ("::1", "http://[::1]:8025", True),
        ("[::1]", "http://[::1]:8025", True),
        ("[::1]:8025", "http://[::1]:8025", True),
        ("[::1]:8026", "http://[::1]:8025", False),
        ("0:0:0:0:0:0:0:1", "http://[::1]", True),
        ("[0:0::1]", "http://[::1]", True),
        ("[::1", "http://[::1]", False),
        ("::2", "http://[::1]", False),
        ("::1", "http://localhost", False),
        # Blocks of addresses.
        ("127.0.0.0/8", "http://127.0.0.1:8025", True),
        ("127.1.2.3/8", "http://127.0.0.1:8025", True),
        ("10.0.0.0/8", "http://127.0.0.1:8025", False),
        ("fd00::/8", "https://[fd12::7]", True),
        ("fd00::/8", "https://[2001:db8::7]", False),
        ("0.0.0.0/0", "https://[fd12::7]", False),
        ("0.0.0.0/0", "https://smsc.ru", False),
        ("127.0.0.0/99", "http://127.0.0.1", False),
    ],
)
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_no_proxy_names_hosts_addresses_and_blocks(
    variable: str, no_proxy: str, url: str, goes_without: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names with their subdomains, addresses and blocks of them, with a port or without, or everything."""
    monkeypatch.setenv("all_proxy", SOMEWHERE)
    monkeypatch.setenv(variable, no_proxy)
    assert (environment_proxy(url) is None) == goes_without


def test_the_system_s_settings_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS and Windows they are no variables."""
    monkeypatch.setattr("smsc_status._runtime.proxies.getproxies", lambda: {"https": SOMEWHERE})
    monkeypatch.setattr("smsc_status._runtime.proxies.proxy_bypass", lambda host: host == "smsc.ru")
    assert environment_proxy("https://smsc.ru") is None
    assert environment_proxy("https://smsc.kz") == Proxy(Secret(SOMEWHERE), "HTTPS_PROXY")


def test_a_proxy_of_two_variables_is_one_proxy() -> None:
    """Its connections are shared. Its password is not shown."""
    one = Proxy(Secret("http://me:hidden@proxy"), "HTTPS_PROXY")
    assert {one} == {Proxy(Secret("http://me:hidden@proxy"), "ALL_PROXY")}
    assert "hidden" not in repr(one)
