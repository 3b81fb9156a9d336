"""Replies that the emulator does not give, through respx: as users who mock httpx will do it."""

from __future__ import annotations

import httpx
import pytest
import respx

from smsc_status import ParametersError, ProtocolError, StatusClient, StatusRecord, TransportError

URL = "https://smsc.example/sys/status.php"
PHONE = "79990000000"


@pytest.fixture
def client() -> StatusClient:
    return StatusClient(login="me", password="pw", base_url="https://smsc.example", retries=0)


@pytest.mark.asyncio
@respx.mock
async def test_a_mocked_route_is_reached_by_a_client_without_a_transport_of_its_own(client: StatusClient) -> None:
    """The form is what a route may look at."""
    route = respx.post(URL, data__contains={"id": "1", "psw": "pw"}).respond(json={"status": 1, "err": 0})
    async with client:
        assert (await client.check(1, PHONE)).is_delivered
    assert route.call_count == 1


@pytest.mark.asyncio
@pytest.mark.virtual
@respx.mock
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_never_followed(client: StatusClient, status: int) -> None:
    """The credentials stay with the host that they were meant for."""
    respx.post(URL).respond(status, headers={"location": "https://elsewhere.example/"})
    elsewhere = respx.route(host="elsewhere.example").respond(json={"status": 1})
    async with client:
        with pytest.raises(ProtocolError) as caught:
            await client.check(status, PHONE)
    assert caught.value.status == status
    assert not elsewhere.called


@pytest.mark.asyncio
@pytest.mark.virtual
@respx.mock
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410])
async def test_any_other_http_status_is_tried_again_and_then_told(status: int) -> None:
    """With an excerpt of what it says."""
    route = respx.post(URL).respond(status, text="the reason")
    async with StatusClient(apikey="another", base_url="https://smsc.example", retries=5) as client:
        with pytest.raises(ProtocolError, match="the reason"):
            await client.check(status, PHONE)
    assert route.call_count == 6


@pytest.mark.asyncio
@respx.mock
@pytest.mark.parametrize("status", [413, 414])
async def test_too_large_a_request_is_asked_in_parts(status: int) -> None:
    """As if the vendor itself had said no."""

    def answer(request: httpx.Request) -> httpx.Response:
        if b"," in request.content:
            return httpx.Response(status)
        return httpx.Response(200, json={"status": 1})

    respx.post(URL).mock(side_effect=answer)
    async with StatusClient(apikey=f"key {status}", base_url="https://smsc.example") as client:
        outcomes = [outcome async for outcome in client.stream([(k, PHONE) for k in range(1, 21)])]
    assert [type(outcome) for outcome in outcomes] == [StatusRecord] * 20


@pytest.mark.asyncio
@respx.mock
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_an_http_status_that_says_later_is_a_transport_error(client: StatusClient, status: int) -> None:
    """It is tried again as long as there are tries left."""
    respx.post(URL).respond(status)
    async with client:
        with pytest.raises(TransportError, match=str(status)):
            await client.check(status, PHONE)


@pytest.mark.asyncio
@respx.mock
async def test_the_charset_of_the_header_is_ignored(client: StatusClient) -> None:
    """The answer is in the charset that was asked for."""
    body = '{"error": "ошибка", "error_code": 1}'.encode()
    respx.post(URL).respond(content=body, headers={"content-type": "application/json; charset=windows-1251"})
    async with client:
        with pytest.raises(ParametersError, match="ошибка"):
            await client.check(5, PHONE)
