"""Law 4: login, password and key travel in a POST body, and show up nowhere else."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

import anyio
import httpx
import pytest
from helpers import Answering, delivered, held_by, loop_by_turns, things_held_by
from network import Network
from rich.console import Console
from rich.traceback import Traceback

from smsc_status import (
    AddressBlocked,
    ApiError,
    AuthError,
    ConfigError,
    DeleteError,
    FailedCheck,
    LimitExceeded,
    ParametersError,
    ProtocolError,
    RateLimited,
    RequestTimeout,
    SmscError,
    StatusClient,
    TransportError,
)
from smsc_status.emulator import Emulator

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LOGIN, PASSWORD, KEY = "login-of-ours", "password-of-ours", "key-of-ours"
SECRETS = {LOGIN, PASSWORD, KEY}
PHONE = "79990000000"

# The error class, and what the server does to bring it about.
CASES: dict[str, tuple[type[SmscError], Answering]] = {
    "parameters": (ParametersError, Answering(b'{"error": "parameters error", "error_code": 1}')),
    "authorisation": (AuthError, Answering(b'{"error": "authorise error", "error_code": 2}')),
    "address": (AddressBlocked, Answering(b'{"error": "ip is blocked", "error_code": 4}')),
    "deletion": (DeleteError, Answering(b'{"error": "delete error", "error_code": 5}')),
    "unknown code": (ApiError, Answering(b'{"error": "who is login-of-ours?", "error_code": 77}')),
    "limits": (RateLimited, Answering(b'{"error": "duplicate request", "error_code": 9}')),
    "echo": (ProtocolError, Answering(b"<html>psw=password-of-ours&apikey=key-of-ours&login=login-of-ours</html>")),
    "403": (ProtocolError, Answering(httpx.Response(403, content=b"no, login-of-ours"))),
    "503": (TransportError, Answering(httpx.Response(503))),
    "refused": (TransportError, Answering(httpx.ConnectError("refused"))),
    "cut": (TransportError, Answering(httpx.ReadError("cut after psw=password-of-ours"))),
    "a bug of the transport's": (TransportError, Answering(RuntimeError("body: apikey=key-of-ours"))),
    "silence": (RequestTimeout, Answering(httpx.Response(200), after=60)),
}


def shown(error: BaseException) -> str:
    """Everything that a terminal or a log could show of an error."""
    console = Console(file=io.StringIO(), width=200)
    tb = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True, locals_max_string=10**6)
    console.print(tb)
    plain = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert isinstance(console.file, io.StringIO)
    return f"{console.file.getvalue()}\n{plain}\n{error!r}\n{error}\n{vars(error)}"


def assert_clean(text: str) -> None:
    for secret in SECRETS & set(os.environ.values()):  # those that this test's client has
        assert secret not in text


ACCOUNTS = "login", "apikey"


@pytest.fixture(params=ACCOUNTS)
def client_for(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., StatusClient]:
    """Makes clients from the environment, so that the test's own frames hold no secret."""
    if request.param == "login":
        monkeypatch.setenv("SMSC_LOGIN", LOGIN)
        monkeypatch.setenv("SMSC_PASSWORD", PASSWORD)
    else:
        monkeypatch.setenv("SMSC_APIKEY", KEY)

    def make(transport: httpx.AsyncBaseTransport) -> StatusClient:
        return StatusClient.from_env(transport=transport, base_url="http://localhost", timeout=5, retries=1)

    return make


def calls(client: StatusClient) -> list[Callable[[], Awaitable[object]]]:
    async def stream() -> None:
        async for outcome in client.stream([(1, PHONE), (2, PHONE)]):
            if isinstance(outcome, FailedCheck):
                raise outcome.error

    return [lambda: client.check(1, PHONE, max_wait=30), lambda: client.delete(2, PHONE), stream]


@pytest.mark.parametrize(
    ("case", "client_for", "anyio_backend"),
    [(case, account, loop_by_turns(n, k)) for n, case in enumerate(CASES) for k, account in enumerate(ACCOUNTS)],
    indirect=["client_for", "anyio_backend"],
)
async def test_no_error_shows_a_secret(
    case: str, client_for: Callable[..., StatusClient], caplog: pytest.LogCaptureFixture
) -> None:
    """Not its text, its attributes, its chain, nor a traceback with all frames' locals; not the log at DEBUG."""
    caplog.set_level(logging.DEBUG)
    expected, transport = CASES[case]
    raised: list[type[BaseException]] = []
    client = client_for(transport)
    async with client:
        for call in calls(client):
            try:
                with anyio.fail_after(300):
                    await call()
            except (SmscError, TimeoutError) as error:
                raised.append(type(error))
                assert_clean(shown(error))
        assert_clean(repr(client) + repr(vars(client)) + repr(client.stats()))
    assert any(issubclass(kind, expected) for kind in raised)
    assert_clean(caplog.text)
    assert transport.requests
    for request in transport.requests:
        assert_clean(str(request.url) + str(request.headers))
        assert request.method == "POST"
        assert set(parse_qs(request.content.decode())) & {"apikey", "psw"}


class Breaking(httpx.AsyncBaseTransport):
    """Raises an error that holds the request, as the transports of users may."""

    def __init__(self, way: str) -> None:
        self.way = way

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = httpx.Response(502, request=request, content=request.content)
        cut = httpx.ReadError("cut", request=request)
        if self.way == "request":
            raise cut
        if self.way == "response":
            response.raise_for_status()
        if self.way == "cause":
            raise RuntimeError("wrapped") from cut
        if self.way == "arguments":
            raise ValueError(request, {request.content: [request.content.decode()]})
        if self.way == "note":
            cut.add_note(f"sent: {request.content.decode()}")
            raise cut
        if self.way == "group":
            raise ExceptionGroup("two", [cut, ExceptionGroup("one", [httpx.ReadError("x", request=request)])])
        try:
            raise cut
        except httpx.ReadError:
            if self.way == "suppressed":
                raise RuntimeError("wrapped") from None
            request.nonsense  # type: ignore[attr-defined]  # noqa: B018 (its AttributeError has the request, and a context)
        raise AssertionError


WAYS = ["request", "response", "cause", "suppressed", "arguments", "note", "group", "attribute error"]


@pytest.mark.parametrize(
    ("way", "client_for", "anyio_backend"),
    [(way, account, loop_by_turns(n, k)) for n, way in enumerate(WAYS) for k, account in enumerate(ACCOUNTS)],
    indirect=["client_for", "anyio_backend"],
)
async def test_an_error_of_the_transport_holds_no_secret(way: str, client_for: Callable[..., StatusClient]) -> None:
    """Its cause has the class and the text of what the transport raised, and neither the request nor the response."""
    async with client_for(Breaking(way)) as client:
        for call in calls(client):
            with pytest.raises(TransportError) as caught:
                await call()
            error = caught.value
            assert error.__cause__ is not None
            assert error.__cause__.__traceback__ is None
            assert_clean(shown(error))
            for text in held_by(error):
                assert_clean(text)
            assert not any(isinstance(thing, httpx.Request | httpx.Response) for thing in things_held_by(error))


@pytest.mark.parametrize(
    "url", [f"ftp://me:{PASSWORD}@proxy", f"http://me:{PASSWORD}@x:port", f"socks5://:{PASSWORD}@x"]
)
@pytest.mark.parametrize("variable", ["ALL_PROXY", "https_proxy", "argument"])
async def test_a_proxy_that_can_not_be_used_shows_no_password(
    url: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in its text, nor in any frame of it or of what it hides."""
    monkeypatch.setenv("SMSC_LOGIN", LOGIN)
    monkeypatch.setenv("SMSC_PASSWORD", PASSWORD)
    monkeypatch.setenv(variable, url)
    monkeypatch.setitem(sys.modules, "socksio", None)
    url = ""
    with pytest.raises(ConfigError) as caught:
        StatusClient.from_env(**({"proxy": os.environ[variable]} if variable == "argument" else {}))
    error = caught.value
    assert error.__context__ is None
    while error.__traceback__ is not None and error.__traceback__.tb_frame.f_code.co_filename == __file__:
        error.__traceback__ = error.__traceback__.tb_next
    assert_clean(shown(error))


async def test_success_shows_no_secret(
    client_for: Callable[..., StatusClient], caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the log at DEBUG, whoever logs."""
    caplog.set_level(logging.DEBUG)
    emulator = Emulator(login=LOGIN, password=PASSWORD, apikey=KEY)
    refs = delivered(emulator, range(1, 20))
    async with client_for(Network(emulator, round_trip=0.1)) as client:
        assert [outcome async for outcome in client.stream(refs)]
        await client.delete(refs[0].id, refs[0].phone)
        for _ in range(4):
            await client.check(5, PHONE)
        with pytest.raises(LimitExceeded) as caught:
            await client.check(5, PHONE, max_wait=1)
    assert_clean(shown(caught.value))
    assert_clean(caplog.text)
    assert "POST http://localhost/sys/status.php: HTTP 200" in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        {"SMSC_LOGIN": LOGIN, "SMSC_PASSWORD": PASSWORD, "SMSC_APIKEY": KEY},
        {"SMSC_LOGIN": LOGIN},
        {"SMSC_APIKEY": KEY, "SMSC_BASE_URL": "http://example.com"},
    ],
)
async def test_configuration_errors_show_no_secret(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The constructor's own frames hold no secret by the time that they raise."""
    for name, value in options.items():
        monkeypatch.setenv(name, value)
    del name, value
    options = {}
    with pytest.raises(ConfigError) as caught:
        StatusClient.from_env()
    error = caught.value
    while error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        error.__traceback__ = error.__traceback__.tb_next  # without this test's own frame
        if error.__traceback__.tb_frame.f_code.co_filename != __file__:
            break
    assert_clean(shown(error))


async def test_an_url_with_credentials_is_refused_without_repeating_them() -> None:
    """They would travel in every log between here and there."""
    with pytest.raises(ConfigError) as caught:
        StatusClient(apikey=KEY, base_url=f"https://{LOGIN}:{PASSWORD}@smsc.ru")
    assert PASSWORD not in str(caught.value)
    assert LOGIN not in str(caught.value)
