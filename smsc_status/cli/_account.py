"""Makes a client of the user's account.

The credentials come from the environment, or are asked for on a terminal. They never come from arguments, which other
users of the machine can see.
"""

from __future__ import annotations

import os
import sys
from getpass import getpass

from smsc_status._runtime.account import Secret
from smsc_status.client import Stats, StatusClient
from smsc_status.errors import ConfigError, TransportError
from smsc_status.limiter import LocalLimiter
from smsc_status.models import Limits

CREDENTIALS_HINT = "set SMSC_APIKEY, or SMSC_LOGIN and SMSC_PASSWORD, in the environment"

PATIENCE, ENOUGH_REQUESTS = 30.0, 3
"""After so many seconds and requests without any answer, the server is given up. One that has answered never is."""


def open_client(limits: Limits | None = None) -> tuple[StatusClient, LocalLimiter]:
    """A client of the user's account, and its limiter, whose state the commands show.

    Raises:
        ConfigError: there are no credentials and no terminal to ask on, or the credentials can't be used.
    """
    limiter = LocalLimiter(limits)
    return StatusClient.from_env(limiter=limiter, **_missing_credentials()), limiter


def require_answers(stats: Stats, seconds: float) -> None:
    """Check that at least one request had an answer that can be read, `seconds` after the start.

    Raises:
        TransportError: none had, although there were enough requests and time: the address is probably wrong.
    """
    ended = sum(stats.requests.values()) - stats.open_requests
    if ended >= ENOUGH_REQUESTS and not stats.records and not stats.refusals and seconds > PATIENCE:
        raise TransportError(f"no answer that can be read to {ended} requests in {PATIENCE:g} s")


def _missing_credentials() -> dict[str, Secret]:
    """The credentials that the environment lacks, asked for on the terminal."""
    apikey, login, password = (bool(os.environ.get(f"SMSC_{name}")) for name in ("APIKEY", "LOGIN", "PASSWORD"))
    if apikey and (login or password):
        raise ConfigError("both SMSC_APIKEY and SMSC_LOGIN or SMSC_PASSWORD are set: unset one of the two kinds")
    if apikey or (login and password):
        return {}
    if not sys.stdin.isatty():
        raise ConfigError(f"no credentials: {CREDENTIALS_HINT}")
    try:
        return _asked_for(login=login, password=password)
    except EOFError:
        raise ConfigError(f"no credentials: {CREDENTIALS_HINT}") from None


def _asked_for(*, login: bool, password: bool) -> dict[str, Secret]:
    answers = {}
    if not login and not password:
        answers["apikey"] = Secret(getpass("API key (empty: login and password): "))
        if answers["apikey"].reveal():
            return answers
    return {
        "login": Secret(os.environ["SMSC_LOGIN"] if login else getpass("Login: ")),
        "password": Secret(os.environ["SMSC_PASSWORD"] if password else getpass("Password: ")),
    }
