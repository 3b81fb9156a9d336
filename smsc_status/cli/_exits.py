"""How a command ends: its exit status, and the one line that says why and what to do."""

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
    DeleteError,
    LimitExceeded,
    ProtocolError,
    RateLimited,
    SmscError,
    TransportError,
)

PROGRAM = "smsc-status"


class Exit(IntEnum):
    """The exit statuses; the last two are what a shell makes of the signals INT and PIPE."""

    DONE = 0
    SOME_FAILED = 1
    USAGE = 2
    REFUSED = 3
    NETWORK = 4
    INTERRUPTED = 130
    PIPE_CLOSED = 141


STATUSES_HELP = (
    "Exit statuses: 0 done; 1 some messages failed; 2 usage or configuration; 3 refused by the vendor; 4 network. "
    "Ctrl-C ends with 130, and what was written is whole."
)

# The first that fits, so a class stands before its base.
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
    (TransportError, Exit.NETWORK, "check the network and SMSC_BASE_URL"),
    (ProtocolError, Exit.NETWORK, "check that SMSC_BASE_URL is an SMSC server, with no proxy before it that answers"),
)


def exit_of(error: SmscError) -> Exit:
    """The exit status of a command that this error ends."""
    return next((status for kind, status, _ in _ENDINGS if isinstance(error, kind)), Exit.SOME_FAILED)


def explained(error: SmscError, command: str = "") -> str:
    """The error in one line, with what to do about it.

    Args:
        error: why the command ends.
        command: the command's name, whose help is named where the arguments or the input are to blame.
    """
    advice = next((advice for kind, _, advice in _ENDINGS if isinstance(error, kind)), "")
    if isinstance(error, ConfigError) and command:
        advice = help_of(f"{PROGRAM} {command}")
    return f"{error}; {advice}" if advice else str(error)


def help_of(path: str) -> str:
    """Where to read on about a command, such as `smsc-status fetch`."""
    return f"see {path} --help"


def complain(text: str) -> None:
    """One line on standard error; what could move a terminal's cursor is written as an escape."""
    sys.stderr.write(f"{PROGRAM}: {one_line(text, None)}\n")
    sys.stderr.flush()


def let_go_of_stdout() -> None:
    """Nobody reads standard output any more: what Python still holds of it at exit goes nowhere."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except OSError:  # standard output is no file
        pass
