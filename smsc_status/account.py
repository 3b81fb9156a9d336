"""Whom we ask, and as whom: addresses and credentials, checked before anything is sent, and kept out of sight."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import quote, quote_plus, urlsplit

import attrs

from smsc_status.errors import ConfigError

LEAST_SHOWN = 3
"""So many first characters of a secret, at the end of a text, may be anything."""

_PORTS = {"http": 80, "https": 443}


class Secret:
    """A text that shows itself only to who asks for it by name: not in a `repr`, a log line or a traceback's locals."""

    __slots__ = ("_text",)

    def __init__(self, text: str | Secret) -> None:
        self._text: str = text._text if isinstance(text, Secret) else text

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def reveal(self) -> str:
        """The text."""
        return self._text

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


@attrs.frozen(eq=False)
class Account:
    """The addresses of one account's server, the first one before its mirrors, and its credentials."""

    urls: tuple[str, ...]
    credentials: Mapping[str, Secret] = attrs.field(repr=False)

    @property
    def name(self) -> str:
        """The same for all clients of one account, and says nothing about its credentials."""
        digest = hashlib.sha256(self.urls[0].encode())
        for field, secret in sorted(self.credentials.items()):
            digest.update(f"\0{field}\0{secret.reveal()}".encode())
        return digest.hexdigest()

    def hidden(self, text: str) -> str:
        """The text without the credentials that it quotes."""
        plain = [secret.reveal() for secret in self.credentials.values()]
        forms = {*plain, *map(quote, plain), *map(quote_plus, plain)}
        for secret in sorted(forms, key=len, reverse=True):  # one may begin with another
            text = _without(text, secret)
        return text

    @classmethod
    def of(
        cls,
        *,
        login: Secret | None,
        password: Secret | None,
        apikey: Secret | None,
        base_url: str,
        mirrors: Sequence[str],
        allow_http: bool,
    ) -> Account:
        """Raises `ConfigError` for anything but one kind of credentials and addresses that may be used."""
        if isinstance(mirrors, str):
            raise ConfigError(f"mirrors {mirrors!r}: expected a sequence of URLs, not one str")
        urls = tuple(_url(url, allow_http=allow_http) for url in (base_url, *mirrors))
        return cls(urls, _credentials(login, password, apikey))


def _credentials(login: Secret | None, password: Secret | None, apikey: Secret | None) -> dict[str, Secret]:
    given = {"login": login, "password": password, "apikey": apikey}
    for name, secret in given.items():
        if secret is not None and not _is_text(secret.reveal()):
            raise ConfigError(f"{name}: expected a text that is not empty")
    if apikey is not None and login is None and password is None:
        return {"apikey": apikey}
    if apikey is None and login is not None and password is not None:
        return {"login": login, "psw": password}
    names = [name for name, secret in given.items() if secret is not None]
    raise ConfigError(f"credentials: expected either apikey or login and password, got {', '.join(names) or 'none'}")


def _without(value: str, secret: str) -> str:
    value = value.replace(secret, "***")
    for length in range(len(secret) - 1, LEAST_SHOWN, -1):  # an excerpt may end in the middle of it
        if value.endswith(secret[:length]):
            return f"{value[:-length]}***"
    return value


def _is_text(value: object) -> bool:
    """Whether it is a text that says something and that UTF-8 can carry."""
    if not isinstance(value, str) or not value.strip():
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _url(url: str, *, allow_http: bool) -> str:
    if not isinstance(url, str):
        raise ConfigError(f"URL: expected a str such as 'https://smsc.ru', got a {type(url).__name__}")
    if "@" in url:  # not repeated: what stands before it may be a password
        raise ConfigError("URL with an '@': expected one such as 'https://smsc.ru', without user and password")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError("URL whose host or port can't be read: expected one such as 'https://smsc.ru'") from None
    if parts.query or parts.fragment:
        raise ConfigError(f"URL of {parts.hostname!r}: expected one without query and fragment")
    if parts.scheme not in _PORTS or not parts.hostname or not parts.hostname.isprintable() or " " in url:
        raise ConfigError(f"URL {url!r}: expected one such as 'https://smsc.ru'")
    if parts.scheme == "http" and not (allow_http or _is_loopback(parts.hostname)):
        raise ConfigError(f"URL {url!r}: expected https, as credentials travel there (or allow_http=True)")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port_part = "" if port in (None, _PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{port_part}{parts.path.rstrip('/')}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
