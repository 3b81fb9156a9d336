"""Addresses and credentials: what is taken, what is refused, and what is never shown."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from smsc_status._runtime.account import Account, Secret
from smsc_status.errors import ConfigError

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
    def test_a_secret_is_shown_in_no_log(self) -> None:
        """Not in any of the ways in which a text gets into a log."""
        secret = Secret("hidden")
        shown = f"{secret} {secret!r} {secret!s} {[secret]} {dir(secret)}"
        assert "hidden" not in shown
        assert "<secret>" in shown
        assert secret.reveal() == "hidden"
        assert Secret(secret).reveal() == "hidden"

    def test_secrets_are_equal_by_their_texts(self) -> None:
        """So that one proxy for several addresses is one."""
        assert {Secret("a"), Secret("a"), Secret("b")} == {Secret("a"), Secret("b")}
        assert Secret("a") != "a"

    @pytest.mark.parametrize("carry", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_a_secret_can_not_be_pickled(self, carry: Any) -> None:
        """Neither to another process nor to a file."""
        with pytest.raises(TypeError, match="not pickled"):
            carry(Secret("hidden"))


class TestCredentials:
    def test_a_key_or_a_login_with_a_password_is_taken(self) -> None:
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
            ({"login": "", "password": "hidden"}, r"login: expected .* \(an API key goes into apikey\)"),
            ({"login": "hidden", "password": 12345}, "password: expected"),
            ({"apikey": b"hidden"}, "apikey: expected"),
            ({"apikey": "hidden\udcff"}, "apikey: expected"),
        ],
    )
    def test_other_credentials_are_refused_without_their_text(self, given: dict[str, Any], message: str) -> None:
        """Naming what was given, and never its text."""
        secrets = {name: None if value is None else Secret(value) for name, value in given.items()}
        with pytest.raises(ConfigError, match=message) as caught:
            Account.of(**(DEFAULTS | secrets))
        assert "hidden" not in str(caught.value)

    def test_the_repr_has_no_credentials(self) -> None:
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
    def test_a_text_loses_every_credential_that_it_quotes(self, text: str, expected: str) -> None:
        """Every occurrence of every credential."""
        assert account(login="me-myself", password="pass").hidden(text) == expected

    def test_a_password_that_begins_with_the_login_is_hidden_whole(self) -> None:
        """Its rest is not shown either."""
        hidden = account(login="demo", password="demo2024").hidden("psw=demo2024 login=demo")
        assert hidden == "psw=*** login=***"

    def test_a_credential_in_the_form_of_the_wire_is_hidden_too(self) -> None:
        """A reply may quote the body as it was sent, with small letters or in a page of HTML, or as JSON."""
        assert account(apikey="a&b c/d").hidden("apikey=a%26b+c%2Fd&id=1") == "apikey=***&id=1"
        assert account(apikey="a&b c/d").hidden("a%26b%20c/d a%26b%20c%2fd a%26b+c%2fd") == "*** *** ***"
        assert account(apikey='a&<b>"c').hidden("key=a&amp;&lt;b&gt;&quot;c.") == "key=***."
        assert account(apikey='ключ"').hidden(r"{'key': '\u043a\u043b\u044e\u0447\"'}") == "{'key': '***'}"


class TestName:
    def test_the_name_tells_accounts_apart(self) -> None:
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

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("https://smsc.ru", "https://smsc.ru/"),
            ("https://smsc.ru", "HTTPS://SMSC.ru"),
            ("https://smsc.ru", "https://smsc.ru:443"),
            ("https://smsc.ru", "https://smsc.ru."),
            ("https://smsc.ru", "http://smsc.ru:80"),
            ("https://smsc.ru", "https://www.smsc.ru"),
            ("https://smsc.ru", "https://www2.smsc.ru"),
            ("https://www3.smsc.ru", "https://www5.smsc.ru"),
            ("https://пример.рф", "https://xn--e1afmkfd.xn--p1ai"),
            ("http://127.0.0.1:8025", "http://localhost:8025"),
            ("http://127.0.0.1:8025", "http://[::1]:8025"),
            ("http://localhost:8025", "http://[0:0:0:0:0:0:0:1]:8025/"),
            ("https://[2001:db8::1]", "https://[2001:DB8:0::1]:443"),
        ],
    )
    def test_the_same_address_is_the_same_account(self, one: str, other: str) -> None:
        """However it is written: two clients of it share their limits."""
        assert account(base_url=one, allow_http=True).name == account(base_url=other, allow_http=True).name

    def test_a_password_and_its_md5_are_the_same_account(self) -> None:
        """The vendor takes either."""
        names = {
            account(login="me", password=password).name for password in ("password", "5f4dcc3b5aa765d61d8327deb882cf99")
        }
        assert len(names) == 1
        assert (
            account(login="me", password="5F4DCC3B5AA765D61D8327DEB882CF99").name not in names
        )  # this one it does not
        assert account(login="you", password="password").name not in names

    def test_addresses_that_are_not_known_to_be_one_are_two_accounts(self) -> None:
        """Another port, path or installation, a name that is none in DNS, a key beside a login."""
        urls = ["http://localhost:8025", "http://localhost:8026", "http://127.0.0.2:8025", "http://localhost:8025/x"]
        urls += ["https://smsc.ru", "https://smsc.kz", "https://smsc.ru:8443", "https://a..b", "https://www1.smsc.ru"]
        names = {account(base_url=url).name for url in urls}
        names |= {account(apikey="k").name, account(login="k", password="k").name}
        assert len(names) == len(urls) + 2

    def test_the_name_says_nothing_of_the_credentials(self) -> None:
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
    def test_https_is_taken_and_http_to_this_machine(self, url: str, kept: str) -> None:
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
    def test_other_addresses_are_refused_without_repeating_them(self, url: Any) -> None:
        """As base URL and as mirror, without repeating what may be a credential."""
        for where in ({"base_url": url}, {"mirrors": ["https://www2.smsc.ru", url]}):
            with pytest.raises(ConfigError, match="URL") as caught:
                account(**where)
            assert "hidden" not in str(caught.value)

    def test_http_is_taken_where_it_is_allowed(self) -> None:
        """For a network that is trusted."""
        assert account(base_url="http://smsc.internal", allow_http=True).urls == ("http://smsc.internal",)

    def test_mirrors_follow_the_first_address_in_their_order(self) -> None:
        """After the first, in their order; one text is not a sequence of them."""
        urls = account(mirrors=["https://www2.smsc.ru/", "https://www3.smsc.ru"]).urls
        assert urls == ("https://smsc.ru", "https://www2.smsc.ru", "https://www3.smsc.ru")
        with pytest.raises(ConfigError, match="mirrors"):
            account(mirrors="https://www2.smsc.ru")
