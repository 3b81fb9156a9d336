"""How a command ends: its exit status, and one line that says why it failed and what to do."""

from __future__ import annotations

import os
import sys
from enum import IntEnum

from smsc_status._texts import one_line
from smsc_status.errors import (
    AddressBlocked,
    ApiError,
    AuthError,
    ConfigError,
    DatabaseUnavailable,
    DeleteError,
    LimiterUnavailable,
    LimitExceeded,
    ProtocolError,
    RateLimited,
    SmscError,
    TransportError,
)

PROGRAM = "smsc-status"


class Exit(IntEnum):
    """The exit statuses. The last two are those that a shell gives for the signals INT and PIPE."""

    DONE = 0
    SOME_FAILED = 1
    USAGE = 2
    REFUSED = 3
    NETWORK = 4
    INTERRUPTED = 130
    PIPE_CLOSED = 141


STATUSES_HELP = (
    "Exit statuses: 0 done; 1 some messages failed; 2 usage or configuration; 3 refused by the vendor; 4 network, or "
    "no access to the shared log; 130 interrupted by Ctrl-C. An interruption leaves no half-written line."
)

# The first that fits is used, so a class stands before its base class.
_ENDINGS: tuple[tuple[type[SmscError], Exit, str], ...] = (
    (ConfigError, Exit.USAGE, ""),
    (RateLimited, Exit.REFUSED, "something else uses this account: try again in a minute"),
    (LimitExceeded, Exit.SOME_FAILED, "try again later, or allow a longer --max-wait"),
    (
        AuthError,
        Exit.REFUSED,
        "check SMSC_APIKEY, or SMSC_LOGIN and SMSC_PASSWORD, and the addresses that the account allows",
    ),
    (AddressBlocked, Exit.REFUSED, "the vendor has blocked this IP address: stop, and try again later"),
    (DeleteError, Exit.REFUSED, "check the id and the phone; a message that is gone can't be deleted"),
    (ApiError, Exit.REFUSED, "check the id and the phone"),
    (DatabaseUnavailable, Exit.NETWORK, "check DATABASE_URL and that the database runs"),
    (LimiterUnavailable, Exit.NETWORK, "check --share and SMSC_SHARE; --share process shares with nobody"),
    (TransportError, Exit.NETWORK, "check the network and SMSC_BASE_URL"),
    (ProtocolError, Exit.NETWORK, "check that SMSC_BASE_URL is an SMSC server, and that no proxy answers in its place"),
)


def exit_of(error: SmscError) -> Exit:
    """The exit status of a command that ends with this error."""
    return next((status for kind, status, _ in _ENDINGS if isinstance(error, kind)), Exit.SOME_FAILED)


def explained(error: SmscError, command: str = "") -> str:
    """The error and what to do about it, in one line.

    Args:
        error: why the command ends.
        command: the command's name. If the arguments or the input are wrong, the line names this command's help.
    """
    advice = next((advice for kind, _, advice in _ENDINGS if isinstance(error, kind)), "")
    if isinstance(error, ConfigError) and command:
        advice = help_of(f"{PROGRAM} {command}")
    return f"{error}; {advice}" if advice else str(error)


def help_of(path: str) -> str:
    """A hint to the help of a command, such as `smsc-status fetch`."""
    return f"see {path} --help"


def print_on_stderr(text: str) -> None:
    """Write one line on standard error. Control characters, which could move a terminal's cursor, are escaped."""
    sys.stderr.write(f"{PROGRAM}: {one_line(text, None)}\n")
    sys.stderr.flush()


def discard_stdout() -> None:
    """Discard what is left to write on standard output: its reader is gone, and writing at exit would fail."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
    except OSError:  # standard output is not a file
        pass
