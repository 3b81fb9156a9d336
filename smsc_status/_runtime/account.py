"""One account: the server's addresses and the credentials.

They are checked before anything is sent. The credentials never show in a `repr`, a log or an error.
"""

from __future__ import annotations

import hashlib
import html
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeGuard
from urllib.parse import quote, quote_plus, urlsplit

import attrs

from smsc_status.errors import ConfigError

LEAST_SHOWN = 3
"""If a text ends with only this many first characters of a secret, or fewer, they are not hidden: it may be chance."""

DEFAULT_PORTS = {"http": 80, "https": 443}

_LOOPBACK = {"127.0.0.1", "::1"}

_LOGIN = re.compile(r"^(?![/.~]).*:.*@", re.DOTALL)


class Secret:
    """A text that only `reveal` shows. It is in no `repr` and no log line, and not in a traceback's locals."""

    __slots__ = ("_text",)

    def __init__(self, text: str | Secret) -> None:
        self._text: str = text._text if isinstance(text, Secret) else text

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def reveal(self) -> str:
        """The text."""
        return self._text

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


def is_url(share: object) -> TypeGuard[str]:
    """Whether this `share` is a URL, or was probably meant as one, as `redis:USER:PASSWORD@HOST`.

    It may hold a password, so no error may show it.
    """
    return isinstance(share, str) and ("://" in share or _LOGIN.search(share) is not None)


@attrs.frozen(eq=False)
class Account:
    """The addresses of one account's server (the base URL, then its mirrors) and the account's credentials."""

    urls: tuple[str, ...]
    credentials: Mapping[str, Secret] = attrs.field(repr=False)
    _forms: tuple[Secret, ...] = attrs.field(init=False, repr=False)

    @_forms.default
    def _all_forms(self) -> tuple[Secret, ...]:
        forms = {form for secret in self.credentials.values() for form in _forms(secret.reveal())}
        # The longest first: a shorter form may be the beginning of a longer one.
        return tuple(map(Secret, sorted(forms, key=len, reverse=True)))

    @property
    def name(self) -> str:
        """A hash that is the same for all clients of one account, as far as that can be told.

        It does not show the credentials.

        These count as the same account:

        - a password and the lower-case MD5 of its UTF-8 bytes, since the vendor accepts either;
        - a server's address with or without its default port, a final slash, and `www.` or `www2.` to `www9.` (the
          vendor's mirrors), by https or http;
        - `localhost`, `127.0.0.1` and `[::1]`.

        These count as different accounts, so each has its own limits: an API key and its owner's login; two keys of one
        account; two spellings of a login; a sister installation (`smsc.kz`); another host, path or port of the same
        server, even one that is listed as a mirror. Give such clients one `limiter=`.

        (An API key given as the password, with an empty login, is refused: it belongs in `apikey`.)
        """
        digest = hashlib.sha256(self.server.encode())
        for field, secret in sorted(self.credentials.items()):
            text = _md5(secret.reveal()) if field == "psw" else secret.reveal()
            digest.update(f"\0{field}\0{text}".encode())
        return digest.hexdigest()

    @property
    def server(self) -> str:
        """A text that is the same for all spellings of the server's address."""
        return _server(self.urls[0])

    @property
    def is_on_loopback(self) -> bool:
        """Whether all addresses are this machine's own."""
        return all(_is_loopback(urlsplit(url).hostname or "") for url in self.urls)

    def hidden(self, text: str) -> str:
        """The text, with `***` in place of any credentials in it."""
        for form in self._forms:
            text = _without(text, form.reveal())
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
        """The account with these addresses and credentials.

        Raises:
            ConfigError: an address that can't be used, or not exactly one kind of credentials.
        """
        if isinstance(mirrors, str | bytes | Mapping) or not isinstance(mirrors, Iterable):
            raise ConfigError(f"mirrors: expected a sequence of URLs, got a {type(mirrors).__name__}")
        urls = tuple(_url(url, allow_http=allow_http) for url in (base_url, *mirrors))
        return cls(urls, _credentials(login, password, apikey))


def _credentials(login: Secret | None, password: Secret | None, apikey: Secret | None) -> dict[str, Secret]:
    given = {"login": login, "password": password, "apikey": apikey}
    for name, secret in given.items():
        if secret is not None and not _is_text(secret.reveal()):
            hint = " (an API key goes into apikey)" if name == "login" else ""
            raise ConfigError(f"{name}: expected a text that is not empty{hint}")
    if apikey is not None and login is None and password is None:
        return {"apikey": apikey}
    if apikey is None and login is not None and password is not None:
        return {"login": login, "psw": password}
    names = [name for name, secret in given.items() if secret is not None]
    raise ConfigError(f"credentials: expected either apikey or login and password, got {', '.join(names) or 'none'}")


def _forms(secret: str) -> set[str]:
    """All ways in which a reply may repeat the secret: as it is, or escaped for a URL, a form's body, HTML or JSON."""
    quoted = {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    lower = {re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), form) for form in quoted}
    return {secret, *quoted, *lower, html.escape(secret), json.dumps(secret)[1:-1]}


def _md5(password: str) -> str:
    if re.fullmatch("[0-9a-f]{32}", password):  # it is an MD5 already
        return password
    return hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()


def _server(url: str) -> str:
    """A text that is the same for all spellings of one server's address."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    try:
        host = ipaddress.ip_address(host).compressed
    except ValueError:
        host = re.sub(r"^www[2-9]?\.", "", _ascii(host))
    if host in _LOOPBACK:
        host = "localhost"
    return f"{host}:{parts.port or ''}{parts.path}"


def _ascii(host: str) -> str:
    try:
        return host.encode("idna").decode()
    except UnicodeError:  # the host can't be reached, or is in ASCII already
        return host


def _without(value: str, secret: str) -> str:
    value = value.replace(secret, "***")
    for length in range(len(secret) - 1, LEAST_SHOWN, -1):  # an excerpt may end in the middle of the secret
        if value.endswith(secret[:length]):
            return f"{value[:-length]}***"
    return value


def _is_text(value: object) -> bool:
    """Whether the value is a text that is not blank and that UTF-8 can encode."""
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
    if "@" in url:  # the error does not quote the URL: a password may stand before the "@"
        raise ConfigError("URL with an '@': expected one such as 'https://smsc.ru', without user and password")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError("URL whose host or port can't be read: expected one such as 'https://smsc.ru'") from None
    if parts.query or parts.fragment:
        raise ConfigError(f"URL of {parts.hostname!r}: expected one without query and fragment")
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or not parts.hostname.isprintable() or " " in url:
        raise ConfigError(f"URL {url!r}: expected one such as 'https://smsc.ru'")
    if parts.scheme == "http" and not (allow_http or _is_loopback(parts.hostname)):
        raise ConfigError(f"URL {url!r}: expected https, as credentials travel there (or allow_http=True)")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port_part = "" if port in (None, DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{port_part}{parts.path.rstrip('/')}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
