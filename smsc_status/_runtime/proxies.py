"""Finds the proxy that the environment names for a URL."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import attrs

from smsc_status._runtime.account import DEFAULT_PORTS, Secret


@attrs.frozen
class Proxy:
    """A proxy: its URL, which may hold a password, and the argument or environment variable that named it."""

    url: Secret
    named_by: str = attrs.field(eq=False)


def environment_proxy(url: str) -> Proxy | None:
    """The proxy that the environment names for this URL (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`), or `None`.

    `NO_PROXY` lists what needs no proxy, separated by commas or spaces:

    - a host name, which covers its subdomains too (`smsc.ru`, `.smsc.ru` and `*.smsc.ru` mean the same);
    - an address (`::1`), or a block of addresses (`127.0.0.0/8`);
    - a name or an address with a port (`localhost:8000`, `[::1]:8000`);
    - `*` for everything.

    Names are compared as they are written. They are never looked up.
    """
    parts = urlsplit(url)
    known = getproxies()
    scheme = parts.scheme if known.get(parts.scheme) else "all"
    proxy = known.get(scheme)
    if not proxy or any(_excepts(entry, parts) for entry in re.split(r"[\s,]+", known.get("no", ""))):
        return None
    if proxy_bypass(parts.netloc):  # the system's settings on macOS and Windows, which are not in the environment
        return None
    return Proxy(Secret(proxy if "://" in proxy else f"http://{proxy}"), f"{scheme.upper()}_PROXY")


def _excepts(entry: str, parts: SplitResult) -> bool:
    """Whether this entry of `NO_PROXY` covers the URL's host and port."""
    if entry in ("", "*"):
        return bool(entry)
    host = (parts.hostname or "").rstrip(".")
    address = _address(host)
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        pass
    else:
        return address is not None and address in network
    try:
        named = urlsplit(f"//{entry.lower()}")
        port = named.port
    except ValueError:
        return False
    if port not in (None, parts.port or DEFAULT_PORTS[parts.scheme]):
        return False
    name = (named.hostname or "").lstrip("*").strip(".")
    if address is not None:
        return _address(name) == address
    return bool(name) and f".{host}".endswith(f".{name}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
