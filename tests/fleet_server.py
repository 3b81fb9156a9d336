"""The server for the tests of what may happen to processes that share an account.

Its argument is in JSON: the latency, the number of messages and the period of the limits. It prints its URL, and when
its standard input is closed, what the emulator has counted.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import quick_start  # noqa: F401 (what it does is needed)
from helpers import delivered

from smsc_status.emulator import Emulator, EmulatorServer, Referee


def serve(*, latency: float, messages: int, period: float) -> None:
    """The emulator. It enforces the limits, and notes when each message's requests arrive."""
    emulator = Emulator(referee=Referee(period=period), latency=latency)
    delivered(emulator, range(1, messages + 1))
    with EmulatorServer(emulator) as server:
        _say(server.url)
        sys.stdin.read()
        _say(emulator.stats())


def _say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(**json.loads(sys.argv[1]))
