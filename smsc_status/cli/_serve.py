"""The command `emulator`: serves an emulator on a port, with messages to check."""

from __future__ import annotations

import sys
from pathlib import Path

from smsc_status.cli._output import csv_line
from smsc_status.emulator import FAULTS, Emulator, serve
from smsc_status.errors import ConfigError
from smsc_status.models import MessageRef

LOGIN, PASSWORD, APIKEY = "demo", "demo", "demo-key"
SPREAD = 3600.0
HEADER_CHARSET, REQUESTED = "windows-1251", "requested"
FAULTS_HELP = "Faults, as in --faults cut=0.05,http_503=0.1. " + " ".join(
    f"{name}: {what.replace('`seconds`', '2 seconds').replace('`block_seconds`', '600 emulated seconds')}."
    for name, what in FAULTS.items()
)


def serve_emulator(
    host: str,
    port: int,
    *,
    allow_remote: bool,
    speed: float,
    seed: int,
    messages: int,
    out: Path | None,
    faults: str = "",
    header_charset: str = HEADER_CHARSET,
) -> None:
    """Serve an emulator with `messages` messages, sent within the last hour, until Ctrl-C.

    `faults` is `NAME=SHARE,...`. With the `header_charset` `requested`, each reply claims the charset that its request
    asked for.

    Raises:
        ConfigError: the speed is not above 0, a fault is unknown, or others can reach the address and `allow_remote`
            is false.
        OSError: the port can't be taken, or the file can't be written.
    """
    emulator = Emulator(
        seed=seed,
        speed=speed,
        login=LOGIN,
        password=PASSWORD,
        apikey=APIKEY,
        faults=_shares(faults),
        header_charset=None if header_charset == REQUESTED else header_charset,
    )
    refs = emulator.world.populate(messages, now=emulator.now(), spread=SPREAD)
    if out is not None:
        _write_refs(refs, out)

    def started(url: str) -> None:
        sys.stdout.write(_greeting(url, speed, messages, out))
        sys.stdout.flush()

    try:
        serve(emulator, host, port, allow_remote=allow_remote, started=started)
    except ConfigError as error:
        raise ConfigError(str(error).replace("allow_remote=True", "--allow-remote")) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from None


def _shares(faults: str) -> dict[str, float]:
    """The share of each fault, by the fault's name.

    Raises:
        ConfigError: a fault is not given as NAME=SHARE.
    """
    shares = {}
    for fault in filter(None, map(str.strip, faults.split(","))):
        name, _, share = fault.partition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError:
            raise ConfigError(f"--faults {fault}: expected NAME=SHARE, such as cut=0.05") from None
    return shares


def _write_refs(refs: list[MessageRef], out: Path) -> None:
    with out.open("wb") as file:
        file.write(csv_line(("id", "phone", "sent_at")))
        for ref in refs:
            file.write(csv_line((ref.id, ref.phone, ref.sent_at and ref.sent_at.isoformat())))


def _greeting(url: str, speed: float, messages: int, out: Path | None) -> str:
    """The emulator's address and account, and a command that uses it."""
    account = f"SMSC_BASE_URL={url} SMSC_APIKEY={APIKEY}"
    period = "" if speed == 1 else f" --period {60 / speed:g}"
    example = f"check 1 PHONE{period}" if out is None else f"fetch {out}{period}"
    return (
        f"{url} has {messages} messages; login {LOGIN}, password {PASSWORD}, or API key {APIKEY}; Ctrl-C ends it.\n"
        f"{account} smsc-status {example}\n"
    )
