"""A MariaDB server, for tests that start it themselves."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

_SETTINGS = [
    "--no-defaults", "--bind-address=127.0.0.1", "--skip-grant-tables", "--skip-name-resolve",
    "--character-set-server=utf8mb4", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=8M",
]  # fmt: skip
"""Without tables of rights, an empty folder is all that it needs, and it starts in about a second."""


def program() -> str | None:
    """The server's program, of Debian's package mariadb-server-core; `None` if there is none."""
    return shutil.which("mariadbd", path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin")


class MariaDBServer:
    """One server process with an empty database, `app`."""

    def __init__(self, folder: Path) -> None:
        found = program()
        if found is None:
            raise RuntimeError("no MariaDB: Debian's package mariadb-server-core is not installed")
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        (folder / "data").mkdir()
        # MariaDB refuses to run as root.
        user: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.getuid() == 0 else {}
        if user:
            for path in (folder, folder / "data"):
                shutil.chown(path, "nobody", "nogroup")
        places = [f"--datadir={folder / 'data'}", f"--socket={folder / 'socket'}", f"--port={self.port}"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own)
                [found, *_SETTINGS, *places], stdout=log, stderr=log, cwd=folder, **user
            )
        until = time.monotonic() + 30
        while not self._makes_database():
            if time.monotonic() > until:
                self.end()
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.05)

    @property
    def url(self) -> str:
        """Its database's URL."""
        return f"mariadb+pymysql://root@127.0.0.1:{self.port}/app"

    def _makes_database(self) -> bool:
        engine = sa.create_engine(self.url.removesuffix("app"), poolclass=sa.NullPool)
        try:
            with engine.begin() as connection:
                connection.execute(sa.text("CREATE DATABASE app"))
        except sa.exc.OperationalError:
            return False
        return True

    def end(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(30)


@contextmanager
def mariadb() -> Iterator[MariaDBServer]:
    """A server with an empty database."""
    with tempfile.TemporaryDirectory(prefix="smsc-mariadb-") as name:
        server = MariaDBServer(Path(name))
        try:
            yield server
        finally:
            server.end()
