"""The command line, `smsc-status`. Needs the extra `cli`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

NEEDS = ("typer", "rich", "uvicorn")


def main() -> int:
    """Run the command that the arguments name, and return its exit status."""
    if any(find_spec(name) is None for name in NEEDS):
        sys.stderr.write('smsc-status: the command line needs more packages: pip install "smsc-status[cli]"\n')
        return 2
    from smsc_status.cli._app import run  # noqa: PLC0415 - it needs the extra, whose presence is checked above

    return run(sys.argv[1:])
