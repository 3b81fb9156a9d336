"""The server on a real port: it counts connections, cuts them, and ends without a trace."""

import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
import uvicorn

from smsc_status.emulator import Emulator, EmulatorServer, serve
from smsc_status.errors import ConfigError

PHONE = "79990000000"
FIELDS = {"apikey": "demo-key", "id": "1", "phone": PHONE, "fmt": "3"}


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=5, trust_env=False) as client:
        yield client


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a test does leaves a line in the log."""
    yield
    assert [record for record in caplog.get_records("call") if record.name.startswith(("uvicorn", "asyncio"))] == []


def until(condition: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def ask(server: EmulatorServer, client: httpx.Client, **fields: str) -> httpx.Response:
    return client.post(f"{server.url}/sys/status.php", data=FIELDS | fields)


def test_a_status_is_answered_and_the_port_is_free_afterwards(client: httpx.Client) -> None:
    emulator = Emulator()
    with EmulatorServer(emulator) as server:
        emulator.world.add(1, PHONE, sent_at=emulator.now(), life=((0, 1),))
        assert ask(server, client).json()["status"] == 1
        assert client.get(f"{server.url}/emulator/stats").json()["requests"]["single"] == 1
        assert server.stats()["messages"] == 1
    with socket.create_server(("127.0.0.1", server.port)):
        pass


def test_an_answer_has_one_date_which_is_the_emulated_one(client: httpx.Client) -> None:
    date = datetime(2024, 3, 5, 12, tzinfo=UTC)
    with EmulatorServer(Emulator(wall_clock=lambda: date)) as server:
        (said,) = ask(server, client).headers.get_list("date")
    assert timedelta(0) <= parsedate_to_datetime(said) - date < timedelta(minutes=1)


FORM = "login=demo&psw=demo&fmt=1&id=1&phone=79990000000"
PART = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
MULTIPART = "".join(PART.format(*pair.split("=")) for pair in FORM.split("&")) + "--b--\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(f"GET /sys/status.php?{FORM} HTTP/1.0\r\nHost: smsc.ru\r\n\r\n", id="GET by HTTP/1.0, as PHP's"),
        pytest.param(
            "POST /sys/status.php HTTP/1.1\r\nHost: www2.smsc.ru\r\nConnection: close\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(FORM)}\r\n\r\n{FORM}",
            id="POST to a mirror",
        ),
        pytest.param(
            f"POST /sys/status.php?{FORM} HTTP/1.1\r\nHost: smsc.ru\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            id="POST with all in its address",
        ),
        pytest.param(
            "POST /sys/status.php HTTP/1.1\r\nhost: smsc.ru\r\nconnection: close\r\ntransfer-encoding: chunked\r\n"
            f"content-type: multipart/form-data; boundary=b\r\n\r\n{len(MULTIPART):x}\r\n{MULTIPART}\r\n0\r\n\r\n",
            id="multipart in chunks, as Node's",
        ),
    ],
)
def test_requests_are_answered_as_foreign_clients_write_them(request_: str) -> None:
    emulator = Emulator()
    with EmulatorServer(emulator) as server:
        emulator.world.add(1, PHONE, sent_at=emulator.now() - 60, life=((0, 1, 0),))
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(request_.encode())
            reply = connection.makefile("rb").read()
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.split(None, 2)[1] == b"200"
    assert b"charset=windows-1251" in head
    assert body.startswith(b"1,")
    assert emulator.errors == {}


def test_time_passes_for_any_thread() -> None:
    emulator = Emulator(speed=100)
    with EmulatorServer(emulator):
        before = emulator.elapsed()
        time.sleep(0.02)
        assert emulator.elapsed() > before + 1


@pytest.mark.slow
@pytest.mark.measured
def test_connections_are_counted_with_the_idle_ones() -> None:
    ready = threading.Barrier(3)  # making a client may take longer than an answer

    def one(id: int) -> int:
        with httpx.Client(trust_env=False) as client:
            if id <= ready.parties:
                ready.wait()
            return ask(server, client, id=str(id)).status_code

    with EmulatorServer(Emulator(latency=0.3)) as server, ThreadPoolExecutor(3) as pool:
        assert list(pool.map(one, [1, 2, 3])) == [200] * 3
        one(5)
    assert (server.peak_connections, server.total_connections) == (3, 4)
    assert server.emulator.connections.open == 0
    assert server.emulator.referee.peak_open == 3


def test_a_cut_connection_is_closed_without_an_answer(client: httpx.Client) -> None:
    with EmulatorServer(Emulator(faults={"cut": 1})) as server, pytest.raises(httpx.RemoteProtocolError):
        ask(server, client)


def test_a_connection_can_be_cut_in_the_middle_of_an_answer(client: httpx.Client) -> None:
    with (
        EmulatorServer(Emulator(faults={"cut_halfway": 1})) as server,
        client.stream("POST", f"{server.url}/sys/status.php", data=FIELDS) as reply,
    ):
        assert reply.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            reply.read()


def test_requests_that_are_open_at_the_end_are_cut() -> None:
    failures: list[BaseException] = []

    def one() -> None:
        try:
            with httpx.Client(timeout=30, trust_env=False) as client:
                ask(server, client)
        except httpx.TransportError as error:
            failures.append(error)

    started_at = time.monotonic()
    with EmulatorServer(Emulator(latency=30)) as server:
        thread = threading.Thread(target=one)
        thread.start()
        until(lambda: server.emulator.referee.open)
    thread.join()
    assert len(failures) == 1
    assert time.monotonic() - started_at < 5


def test_the_request_of_a_client_that_goes_away_is_closed() -> None:
    with EmulatorServer(Emulator(latency=0.1)) as server:
        with pytest.raises(httpx.ReadTimeout), httpx.Client(timeout=0.03, trust_env=False) as client:
            ask(server, client)
        until(lambda: not server.emulator.referee.open and not server.emulator.connections.open)


def test_the_request_of_a_client_that_goes_away_before_it_is_cut_is_closed() -> None:
    with EmulatorServer(Emulator(latency=0.1, faults={"cut": 1})) as server:
        with pytest.raises(httpx.ReadTimeout), httpx.Client(timeout=0.03, trust_env=False) as client:
            ask(server, client)
        until(lambda: not server.emulator.referee.open)


def test_an_ipv6_address_has_brackets() -> None:
    try:
        server = EmulatorServer(Emulator(), host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        assert server.url == f"http://[::1]:{server.port}"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.ru"])
def test_only_loopback_is_served_unless_told_otherwise(host: str) -> None:
    with pytest.raises(ConfigError, match="loopback"):
        EmulatorServer(Emulator(), host=host)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"host": "localhost"}, {"host": "0.0.0.0", "allow_remote": True}])
def test_other_hosts_are_served_when_allowed(options: dict[str, Any], client: httpx.Client) -> None:
    with EmulatorServer(Emulator(), **options) as server:
        assert client.get(f"http://127.0.0.1:{server.port}/emulator/stats").status_code == 200


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    with EmulatorServer(Emulator()) as server, pytest.raises(OSError, match="in use"):
        EmulatorServer(Emulator(), port=server.port)


def test_without_uvicorn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "smsc_status.emulator._protocol", raising=False)
    monkeypatch.delattr("smsc_status.emulator._protocol", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r"smsc-status\[emulator\]"):
        EmulatorServer(Emulator())


def test_a_server_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    server = EmulatorServer(Emulator())
    with pytest.raises(RuntimeError, match="did not start"):
        server.__enter__()


def test_the_blocking_server_ends_when_it_is_stopped(client: httpx.Client) -> None:
    server = EmulatorServer(Emulator())

    def stop() -> None:
        assert ask(server, client).status_code == 200
        server.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    server.run()
    thread.join()


def test_the_blocking_server_ends_with_ctrl_c() -> None:
    urls: list[str] = []

    def started(url: str) -> None:
        urls.append(url)
        timer.start()

    timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    serve(Emulator(), port=0, started=started)
    timer.join()
    assert urls[0].startswith("http://127.0.0.1:")
