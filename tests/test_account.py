"""Addresses and credentials: what is taken, what is refused, and what is never shown."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from smsc_status.account import Account, Secret
from smsc_status.errors import ConfigError
from smsc_status.exchange import environment_proxy

DEFAULTS: dict[str, Any] = {
    "login": None,
    "password": None,
    "apikey": None,
    "base_url": "https://smsc.ru",
    "mirrors": (),
    "allow_http": False,
}


def account(**options: Any) -> Account:
    """By default with a key."""
    secrets: dict[str, Any] = {
        name: Secret(options.pop(name)) for name in ("login", "password", "apikey") if name in options
    }
    return Account.of(**(DEFAULTS | (secrets or {"apikey": Secret("the-key")}) | options))


class TestSecret:
    def test_it_shows_itself_only_by_name(self) -> None:
        """Not in any of the ways in which a text gets into a log."""
        secret = Secret("hidden")
        shown = f"{secret} {secret!r} {secret!s} {[secret]} {dir(secret)}"
        assert "hidden" not in shown
        assert "<secret>" in shown
        assert secret.reveal() == "hidden"
        assert Secret(secret).reveal() == "hidden"

    @pytest.mark.parametrize("carry", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_it_does_not_travel(self, carry: Any) -> None:
        """Neither to another process nor to a file."""
        with pytest.raises(TypeError, match="not pickled"):
            carry(Secret("hidden"))


class TestCredentials:
    def test_a_key_or_login_and_password(self) -> None:
        """Under the wire's names."""
        assert {name: secret.reveal() for name, secret in account(apikey="k").credentials.items()} == {"apikey": "k"}
        pair = account(login="me", password="pw").credentials
        assert {name: secret.reveal() for name, secret in pair.items()} == {"login": "me", "psw": "pw"}

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"apikey": None}, "got none"),
            ({"login": "hidden"}, "got login"),
            ({"password": "hidden"}, "got password"),
            ({"login": "hidden", "apikey": "hidden"}, "got login, apikey"),
            ({"password": "hidden", "apikey": "hidden"}, "got password, apikey"),
            ({"login": "hidden", "password": "hidden", "apikey": "hidden"}, "got login, password, apikey"),
            ({"apikey": ""}, "apikey: expected a text that is not empty"),
            ({"apikey": " \n"}, "apikey: expected"),
            ({"login": "", "password": "hidden"}, "login: expected"),
            ({"login": "hidden", "password": 12345}, "password: expected"),
            ({"apikey": b"hidden"}, "apikey: expected"),
            ({"apikey": "hidden\udcff"}, "apikey: expected"),
        ],
    )
    def test_anything_else_is_refused(self, given: dict[str, Any], message: str) -> None:
        """Naming what was given, and never its text."""
        secrets = {name: None if value is None else Secret(value) for name, value in given.items()}
        with pytest.raises(ConfigError, match=message) as caught:
            Account.of(**(DEFAULTS | secrets))
        assert "hidden" not in str(caught.value)

    def test_the_repr_has_none(self) -> None:
        """Not even as a placeholder."""
        assert repr(account(login="me-myself", password="pw")) == "Account(urls=('https://smsc.ru',))"


class TestHidden:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("login=me-myself&psw=pass", "login=***&psw=***"),
            ("nothing of ours", "nothing of ours"),
            ("", ""),
        ],
    )
    def test_a_text_loses_what_it_quotes(self, text: str, expected: str) -> None:
        """Every occurrence of every credential."""
        assert account(login="me-myself", password="pass").hidden(text) == expected

    def test_a_password_that_begins_with_the_login_is_hidden_whole(self) -> None:
        """Its rest is not shown either."""
        hidden = account(login="demo", password="demo2024").hidden("psw=demo2024 login=demo")
        assert hidden == "psw=*** login=***"

    def test_a_credential_in_the_form_of_the_wire_is_hidden_too(self) -> None:
        """A reply may quote the body as it was sent."""
        assert account(apikey="a&b c/d").hidden("apikey=a%26b+c%2Fd&id=1") == "apikey=***&id=1"


class TestName:
    def test_it_tells_accounts_apart(self) -> None:
        """By address and credentials; mirrors don't count."""
        names = {
            account(apikey="a").name,
            account(apikey="b").name,
            account(apikey="a", base_url="https://smsc.kz").name,
            account(login="a", password="b").name,
            account(login="b", password="a").name,
        }
        assert len(names) == 5
        assert account(apikey="a", mirrors=["https://www2.smsc.ru"]).name in names

    @pytest.mark.parametrize("url", ["https://smsc.ru/", "HTTPS://SMSC.ru", "https://smsc.ru:443"])
    def test_the_same_address_is_the_same_account(self, url: str) -> None:
        """However it is written: two clients of it share their limits."""
        assert account(base_url=url).name == account().name

    def test_it_says_nothing_of_the_credentials(self) -> None:
        """It may stand in a log."""
        assert "the-key" not in account().name


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "kept"),
        [
            ("https://smsc.ru", "https://smsc.ru"),
            ("https://smsc.ru/", "https://smsc.ru"),
            ("https://proxy.example/smsc/", "https://proxy.example/smsc"),
            ("https://smsc.ru:8443", "https://smsc.ru:8443"),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
            ("http://localhost:8000", "http://localhost:8000"),
            ("http://127.0.0.1", "http://127.0.0.1"),
            ("http://[::1]:8000/x", "http://[::1]:8000/x"),
        ],
    )
    def test_what_is_taken(self, url: str, kept: str) -> None:
        """https to anywhere, http to this machine."""
        assert account(base_url=url).urls == (kept,)

    @pytest.mark.parametrize(
        "url",
        [
            "smsc.ru",
            "ftp://smsc.ru",
            "https://",
            "http://smsc.ru",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "https://me:hidden@smsc.ru",
            "https://:hidden@smsc.ru",
            "https://smsc.ru?apikey=hidden",
            "https://smsc.ru#hidden",
            "https://smsc.ru:port",
            "https://[::1",
            "me:hidden@smsc.ru",
            "https:/me:hidden@smsc.ru",
            "https://me:hidden/rest@smsc.ru",
            None,
            b"https://smsc.ru",
        ],
    )
    def test_what_is_refused(self, url: Any) -> None:
        """As base URL and as mirror, without repeating what may be a credential."""
        for where in ({"base_url": url}, {"mirrors": ["https://www2.smsc.ru", url]}):
            with pytest.raises(ConfigError, match="URL") as caught:
                account(**where)
            assert "hidden" not in str(caught.value)

    def test_http_on_ones_own_responsibility(self) -> None:
        """For a network that is trusted."""
        assert account(base_url="http://smsc.internal", allow_http=True).urls == ("http://smsc.internal",)

    def test_mirrors(self) -> None:
        """After the first, in their order; one text is not a sequence of them."""
        urls = account(mirrors=["https://www2.smsc.ru/", "https://www3.smsc.ru"]).urls
        assert urls == ("https://smsc.ru", "https://www2.smsc.ru", "https://www3.smsc.ru")
        with pytest.raises(ConfigError, match="mirrors"):
            account(mirrors="https://www2.smsc.ru")


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "https://smsc.ru", None),
        ({"https_proxy": "http://127.0.0.1:3128"}, "https://smsc.ru", "http://127.0.0.1:3128"),
        ({"https_proxy": "127.0.0.1:3128"}, "https://smsc.ru", "http://127.0.0.1:3128"),
        ({"http_proxy": "http://127.0.0.1:3128"}, "https://smsc.ru", None),
        ({"all_proxy": "http://127.0.0.1:3128"}, "https://smsc.ru", "http://127.0.0.1:3128"),
        ({"all_proxy": "http://127.0.0.1:3128", "no_proxy": "smsc.ru"}, "https://smsc.ru:8443", None),
        ({"all_proxy": "http://127.0.0.1:3128", "no_proxy": "*"}, "https://smsc.ru", None),
    ],
)
def test_the_environment_s_proxy(
    environment: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the scheme, else the one for all, and none for the hosts that are excepted."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert environment_proxy(url) == proxy
