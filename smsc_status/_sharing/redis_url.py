"""Where a Redis or Valkey server is and how to log in, from a URL. No text made here shows a password."""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import attrs

from smsc_status.errors import ConfigError

_TLS: Final = {"redis": False, "valkey": False, "rediss": True, "valkeys": True, "unix": False}
_PORT: Final = 6379
_OPTIONS: Final = ("db", "assume_idle", "sentinel")
_TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")

EXPECTED: Final = (
    "expected redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss:// (TLS), valkey://, valkeys:// (TLS), or "
    "unix://[[USER]:PASSWORD@]/PATH[?db=DB]"
)


@attrs.frozen
class Address:
    """A server's address and the login. `path` is a Unix socket's; then there is no host.

    With `sentinel` it is the address of a Sentinel, which knows the server by that name.
    """

    host: str
    port: int
    path: str = ""
    db: int = 0
    username: str = attrs.field(default="", repr=False)
    password: str = attrs.field(default="", repr=False)
    tls: ssl.SSLContext | None = attrs.field(default=None, repr=False)
    assume_idle: bool = False
    sentinel: str = ""

    @property
    def name(self) -> str:
        """The address for people, as `HOST:PORT` or `/PATH`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"

    @property
    def where(self) -> str:
        """The URL for people: without the login."""
        if self.path:
            return f"unix://{self.path}?db={self.db}"
        sentinel = f"?sentinel={self.sentinel}" if self.sentinel else ""
        return f"{'rediss' if self.tls else 'redis'}://{self.name}/{self.db}{sentinel}"

    def at(self, host: str, port: int) -> Address:
        """The same login at another server."""
        return attrs.evolve(self, host=host, port=port)


def parse_url(url: str) -> Address:
    """The address in a URL.

    Raises:
        ConfigError: it is not such a URL. The text shows neither the login nor the part of the URL that holds it.
    """
    # The errors of the standard library quote the URL, so they are not chained: what is raised is made outside.
    address: Address | str
    try:
        address = _parse(url)
    except (ValueError, OSError) as error:
        address = str(error) if isinstance(error, ConfigError) else f"share: this URL can't be read: {EXPECTED}"
    if isinstance(address, str):
        raise ConfigError(address)
    return address


def _parse(url: str) -> Address:
    url.encode()  # a variable of the environment may hold bytes that are no text
    parts = urlsplit(url)
    if parts.scheme not in _TLS or parts.fragment:
        # A password with a `#` or a `/` in it ends up here, so no other part is shown.
        raise ConfigError(
            f"share: not a URL of a Redis or Valkey server: {EXPECTED}; % escapes for # / ? @ in a password"
        )
    tls = _TLS[parts.scheme]
    options = _options(parts, _OPTIONS + _TLS_OPTIONS * tls)
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if username and not password:
        raise ConfigError(f"share: a user name without a password: {EXPECTED}")
    is_unix = parts.scheme == "unix"
    if is_unix and (not parts.path.strip("/") or parts.hostname):
        raise ConfigError("share: a Unix socket needs an absolute path: expected unix:///PATH")
    if not is_unix and not parts.hostname:
        raise ConfigError(f"share: no host: {EXPECTED}")
    in_path = "" if is_unix else parts.path.strip("/")
    if in_path and options.get("db", in_path) != in_path:
        raise ConfigError("share: the URL names two databases: expected either /DB or ?db=DB")
    db = options.get("db", in_path or "0")
    if not (db.isascii() and db.isdigit()):
        raise ConfigError("share: the database is not a number: expected one from 0")
    if parts.port == 0:
        raise ConfigError("share: the port is 0: expected one from 1 to 65535")
    if not options.get("sentinel", "x"):
        raise ConfigError("share: sentinel in the URL is empty: expected the server's name")
    return Address(
        host="" if is_unix else parts.hostname or "",
        port=0 if is_unix else parts.port or _PORT,
        path=unquote(parts.path) if is_unix else "",
        db=int(db),
        username=username,
        password=password,
        tls=_tls_context(options) if tls else None,
        sentinel=options.get("sentinel", ""),
        assume_idle=_flag(options.get("assume_idle", "0")),
    )


def _options(parts: SplitResult, allowed: tuple[str, ...]) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not options.keys() <= set(allowed):
        raise ConfigError(f"share: an unknown option in the URL: expected {', '.join(allowed)}")
    return options


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ConfigError("share: assume_idle in the URL: expected 0 or 1")
    return text == "1"


def _tls_context(options: dict[str, str]) -> ssl.SSLContext:
    required = options.get("ssl_cert_reqs", "required")
    if required not in ("required", "none"):
        raise ConfigError("share: ssl_cert_reqs in the URL: expected required or none")
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"share: the certificates that the URL names can't be loaded: {error.strerror}") from None
    if required == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
