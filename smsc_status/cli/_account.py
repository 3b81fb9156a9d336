"""Makes a client of the user's account.

The credentials come from the environment, or are asked for on a terminal. They never come from arguments, which other
users of the machine can see.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getpass
from typing import TYPE_CHECKING, Any

from smsc_status._runtime.account import Account, Secret, is_url
from smsc_status._runtime.sharing import NotShared, SharedLog, log_of
from smsc_status.cli._exits import print_on_stderr
from smsc_status.client import Stats, StatusClient
from smsc_status.errors import ConfigError, TransportError
from smsc_status.models import Limits

if TYPE_CHECKING:
    from smsc_status.telemetry import Telemetry

CREDENTIALS_HINT = "set SMSC_APIKEY, or SMSC_LOGIN and SMSC_PASSWORD, in the environment"

GIVE_UP_AFTER, ENOUGH_REQUESTS = 30.0, 3
"""After this many seconds and requests without any answer, the server is given up. One that has answered never is."""


def open_client(limits: Limits, share: str | None, *, telemetry: Telemetry | None = None) -> StatusClient:
    """A client of the user's account. If it can't share the limits as it should by default, that is shown.

    Args:
        limits: the limits to keep.
        share: the option `--share`; `None` if it was not given. Then `SMSC_SHARE` counts.
        telemetry: as for the client.

    Raises:
        ConfigError: there are no credentials and no terminal to ask on, or the credentials or `share` can't be used.
    """
    overrides: dict[str, Any] = {"limits": limits, "telemetry": telemetry}
    if share is not None:
        overrides["share"] = _without_password(share)
    with _warnings_on_stderr():
        return StatusClient.from_env(**overrides, **_missing_credentials())


def find_log(share: str | None) -> SharedLog | NotShared:
    """The log of the user's account; `share` is as for `open_client`.

    Raises:
        ConfigError: as by `open_client`.
    """
    text = os.environ.get("SMSC_SHARE") or None if share is None else _without_password(share)
    environment = {name: os.environ.get(f"SMSC_{name.upper()}") for name in ("apikey", "login", "password")}
    given = {name: Secret(value) for name, value in environment.items() if value} | _missing_credentials()
    account = Account.of(
        apikey=given.get("apikey"),
        login=given.get("login"),
        password=given.get("password"),
        base_url=os.environ.get("SMSC_BASE_URL") or "https://smsc.ru",
        mirrors=(),
        allow_http=False,
    )
    return log_of(account, Secret(text) if is_url(text) else text, margin=Limits().margin)


def _without_password(share: str) -> str:
    """The option `--share`, if it holds no secret.

    Raises:
        ConfigError: it does.
    """
    if is_url(share) and "@" in share:
        raise ConfigError(
            "--share: a URL with a user or a password: expected it in SMSC_SHARE, because other users of the machine "
            "can see arguments"
        )
    return share


class _OnStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print_on_stderr(record.getMessage())


@contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """Show what the library warns of in this block."""
    logger, handler = logging.getLogger("smsc_status"), _OnStderr(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def require_answers(stats: Stats, seconds: float) -> None:
    """Check that at least one request had an answer that can be read, `seconds` after the start.

    Raises:
        TransportError: none had, although there were enough requests and time: the address is probably wrong.
    """
    ended = sum(stats.requests.values()) - stats.open_requests
    if ended >= ENOUGH_REQUESTS and not stats.records and not stats.refusals and seconds > GIVE_UP_AFTER:
        raise TransportError(f"no answer that can be read to {ended} requests in {GIVE_UP_AFTER:g} s")


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
