"""The app answers as the vendor's page says: every format, level and charset, and every refusal."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import md5
from typing import Any

import anyio
import httpx
import pytest
from trio.testing import MockClock

from smsc_status.core import codecs
from smsc_status.emulator import ConnectionCut, Emulator, Faults, Referee, World
from smsc_status.emulator.app import CONTENT_TYPES, Message
from smsc_status.errors import ConfigError
from smsc_status.models import Detail, Format, id_key, phone_key

DATE = datetime(2024, 3, 5, 12, tzinfo=UTC)
NOON = DATE.timestamp()
PHONE = "79990000000"
KEY = {"apikey": "demo-key"}
ONE: dict[str, Any] = {"id": "1", "phone": PHONE, "fmt": "3"}

VIRTUAL = ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture(params=["asyncio", VIRTUAL], ids=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


pytestmark = pytest.mark.anyio


def make(**options: Any) -> Emulator:
    emulator = Emulator(**{"wall_clock": lambda: DATE} | options)
    for id in (1, 2, 3):
        emulator.world.add(id, PHONE, sent_at=NOON - 100, text="привет", comment="да", life=((0, -1), (5, 1)))
    emulator.world.add(4, PHONE, sent_at=NOON - 100, kind=4, life=((0, -1), (5, 1, 0)))
    return emulator


async def ask(emulator: Emulator, method: str = "POST", **fields: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=emulator)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        if method == "GET":
            return await client.get("/sys/status.php", params=fields)
        return await client.post("/sys/status.php", data=fields)


async def error_of(emulator: Emulator, **fields: Any) -> int | None:
    reply = (await ask(emulator, **fields)).json()
    return reply.get("error_code") if isinstance(reply, dict) else None


@pytest.mark.parametrize("charset", codecs.CHARSETS)
@pytest.mark.parametrize("detail", Detail)
@pytest.mark.parametrize("format", Format)
async def test_each_format_level_and_charset_is_answered_as_the_codecs_write_it(
    format: Format, detail: Detail, charset: str
) -> None:
    emulator = make(referee=Referee(bulk_requests=9))
    how = {"format": format, "detail": detail, "charset": charset}
    for ids in (["1"], ["4"], ["1", "2", "4", "77"]):
        records = [emulator.world.record(id, PHONE, at=NOON) for id in ids]
        fields = {"id": ",".join(ids), "phone": ",".join([PHONE] * len(ids))}
        reply = await ask(emulator, **KEY, **fields, fmt=int(format), all=int(detail), charset=charset)
        assert reply.status_code == 200
        assert reply.headers["content-type"] == f"{CONTENT_TYPES[format]}; charset={charset}"
        assert reply.content == codecs.encode(records, **how, bulk=len(ids) > 1)  # type: ignore[arg-type]  # passed on


@pytest.mark.parametrize("format", Format)
@pytest.mark.parametrize("detail", Detail)
async def test_what_the_client_decodes_is_what_the_world_holds(format: Format, detail: Detail) -> None:
    emulator = make()
    asked = [(id, PHONE) for id in ("1", "2", "4", "9")]
    ids, phones = (",".join(column) for column in zip(*asked, strict=True))
    reply = await ask(emulator, **KEY, id=ids, phone=phones, fmt=int(format), all=int(detail), charset="utf-8")
    rows = codecs.decode(
        reply.content,
        format=format,
        detail=detail,
        charset="utf-8",
        asked=[(id_key(id), phone_key(phone)) for id, phone in asked],
        bulk=True,
    )
    assert isinstance(rows, list)
    assert [getattr(row, "status", None) for row in rows] == [1, 1, 1, -3]


@pytest.mark.parametrize(("empty", "expected"), [(False, b"-3,0,0"), (True, b"-3,,")])
async def test_a_number_that_is_not_there_is_printed_as_0_or_as_nothing(empty: bool, expected: bytes) -> None:
    emulator = make(empty_numbers=empty)
    assert (await ask(emulator, **KEY, id="77", phone=PHONE, fmt="1")).content == expected
    pending = (await ask(emulator, **KEY, id="1", phone=PHONE, fmt="1")).content
    assert pending.endswith(b"," if empty else b",0")


async def test_get_and_post_take_the_same_parameters() -> None:
    emulator = make()
    assert (await ask(emulator, "GET", **KEY, **ONE)).content == (await ask(emulator, "POST", **KEY, **ONE)).content


async def test_a_bulk_reply_is_in_the_order_of_the_request_and_keeps_repetitions() -> None:
    reply = await ask(make(), **KEY, id="3,1,3", phone=",".join([PHONE] * 3), fmt="3")
    assert [record["id"] for record in reply.json()] == [3, 1, 3]


async def test_a_trailing_comma_asks_for_a_bulk_reply() -> None:
    emulator = make()
    reply = await ask(emulator, **KEY, id="1,", phone=f"{PHONE},", fmt="3")
    assert [record["status"] for record in reply.json()] == [1]
    assert emulator.referee.peak_bulk == 1


async def test_the_charset_in_the_header_may_be_a_lie() -> None:
    reply = await ask(make(header_charset="windows-1251"), **KEY, **ONE, charset="utf-8", all="1")
    assert reply.headers["content-type"] == "application/json; charset=windows-1251"
    assert json.loads(reply.content.decode("utf-8"))["message"] == "привет"


@pytest.mark.parametrize(
    "credentials",
    [
        {"login": "demo", "psw": "demo"},
        {"login": "demo", "psw": md5(b"demo").hexdigest()},
        {"apikey": "demo-key"},
        {"psw": "demo-key"},
        {"login": "", "psw": "demo-key"},
    ],
)
async def test_each_way_to_log_in_is_taken(credentials: dict[str, str]) -> None:
    assert await error_of(make(), **credentials, **ONE) is None


@pytest.mark.parametrize(
    ("credentials", "code"),
    [
        ({}, 1),
        ({"login": "demo"}, 2),
        ({"login": "demo", "psw": "Demo"}, 2),
        ({"login": "demo", "psw": md5(b"demo").hexdigest().upper()}, 2),
        ({"login": "other", "psw": "demo"}, 2),
        ({"psw": "demo"}, 2),
        ({"apikey": "demo"}, 2),
    ],
)
async def test_other_credentials_are_refused(credentials: dict[str, str], code: int) -> None:
    assert await error_of(make(), **credentials, **ONE) == code


@pytest.mark.parametrize("format", Format)
async def test_an_error_is_http_200_in_the_format_asked_for(format: Format) -> None:
    reply = await ask(make(), **KEY, id="0", phone=PHONE, fmt=int(format))
    assert reply.status_code == 200
    assert reply.content == codecs.encode_error(1, "parameters error", format=format, charset="windows-1251")


async def test_an_error_of_a_bulk_request_is_not_a_list() -> None:
    assert await error_of(make(), **KEY, id="1,0", phone=f"{PHONE},{PHONE}", fmt="3") == 1


async def test_too_large_a_bulk_request_is_an_error_in_the_parameters() -> None:
    emulator = make(max_bulk=2, referee=Referee(bulk_requests=5))
    phones = [PHONE] * 3
    assert await error_of(emulator, **KEY, id="1,2", phone=",".join(phones[:2]), fmt="3") is None
    assert await error_of(emulator, **KEY, id="1,2,3", phone=",".join(phones), fmt="3") == 1


async def test_a_blocked_address_is_told_so_until_it_is_free_again() -> None:
    emulator = make()
    emulator.blocked = True
    assert await error_of(emulator, **KEY, **ONE) == 4
    emulator.blocked = False
    assert await error_of(emulator, **KEY, **ONE) is None


@pytest.mark.parametrize("format", Format)
async def test_a_deletion_is_confirmed_once(format: Format) -> None:
    emulator = make()
    fields: dict[str, Any] = {"id": "1", "phone": PHONE, "del": "1", "fmt": int(format), "charset": "utf-8"}
    first, second = await ask(emulator, **KEY, **fields), await ask(emulator, **KEY, **fields)
    assert first.content == codecs.encode_deletion(format=format, charset="utf-8")
    assert second.content == codecs.encode_error(5, "delete error", format=format, charset="utf-8")
    assert emulator.referee.requests["delete"] == 2  # type: ignore[index]  # kinds are strings
    assert (await ask(emulator, **KEY, **ONE)).json() == {"status": -3}


async def test_a_sixth_check_of_a_message_is_refused_for_a_minute() -> None:
    emulator = make(speed=1000)
    assert [await error_of(emulator, **KEY, **ONE) for _ in range(6)] == [None] * 5 + [9]
    assert emulator.errors == {9: 1}
    await anyio.sleep(0.061)
    assert await error_of(emulator, **KEY, **ONE) is None


async def test_a_second_bulk_request_is_refused() -> None:
    emulator = make()
    assert [await error_of(emulator, **KEY, id=f"{n},", phone=PHONE, fmt="3") for n in (1, 2)] == [None, 9]


async def test_a_fifth_request_at_once_is_refused_with_a_text_of_its_own() -> None:
    emulator = make(latency=0.05)
    texts: list[str | None] = []

    async def one(id: int) -> None:
        texts.append(
            (await ask(emulator, **KEY, id=str(id), phone=PHONE, fmt="3", charset="utf-8")).json().get("error")
        )

    async with anyio.create_task_group() as group:
        for id in range(1, 6):
            group.start_soon(one, id)
    assert sorted(text or "" for text in texts) == ["", "", "", "", "too many concurrent requests"]
    assert emulator.referee.peak_open == 5
    assert emulator.referee.open == 0


async def test_limits_can_be_counted_without_being_enforced() -> None:
    emulator = make(enforce=False)
    assert [await error_of(emulator, **KEY, **ONE) for _ in range(7)] == [None] * 7
    assert emulator.referee.peak_checks_per_id == 7
    assert not emulator.referee.is_content


async def test_a_request_that_is_given_up_is_not_open_any_more() -> None:
    emulator = make(latency=60)
    with anyio.move_on_after(0.02):
        await ask(emulator, **KEY, **ONE)
    assert (emulator.referee.open, emulator.referee.peak_open) == (0, 1)


async def test_lives_go_on_at_the_emulated_speed() -> None:
    emulator = make(speed=1000)
    ref = emulator.world.add(9, PHONE, sent_at=emulator.now(), life=((0, 0), (30, 1)))
    assert (await ask(emulator, **KEY, id="9", phone=PHONE, fmt="3")).json()["status"] == 0
    await anyio.sleep(0.031)
    assert (await ask(emulator, **KEY, id="9", phone=PHONE, fmt="3")).json()["status"] == 1
    assert emulator.world.status_at(ref, emulator.now()) == 1


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("PUT", "/sys/status.php", 405)])
async def test_elsewhere_there_is_nothing(method: str, path: str, status: int) -> None:
    transport = httpx.ASGITransport(app=make())
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.request(method, path)).status_code == status


async def test_the_counts_can_be_read_over_http() -> None:
    emulator = make(faults={"html": 1.0})
    await ask(emulator, **KEY, **ONE)
    await ask(emulator, **ONE)
    transport = httpx.ASGITransport(app=emulator)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        stats = (await client.get("/emulator/stats")).json()
    assert stats["requests"] == {"single": 2, "bulk": 0, "delete": 0}
    assert stats["messages"] == 1
    assert stats["errors"] == {"1": 1, "2": 0, "4": 0, "5": 0, "9": 0}
    assert stats["faults"] == {"html": 2}
    assert stats["connections"] == {"open": 0, "peak": 0, "total": 0}
    assert stats["elapsed"] >= 0


async def test_other_scopes_are_left_alone() -> None:
    async def never(*_: Any) -> Message:
        raise AssertionError

    await make()({"type": "lifespan"}, never, never)  # type: ignore[arg-type]  # not even called


async def test_a_body_in_pieces_is_read_to_its_end() -> None:
    pieces = [b"id=1&pho", b"ne=79990000000&apikey=demo-key&fmt=1"]
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/sys/status.php", "query_string": b""}
    await make()(scope, receive, send)
    assert sent[1]["body"].startswith(b"1,")


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("http_503", lambda reply: reply.status_code == 503),
        ("html", lambda reply: reply.status_code == 200 and b"<html>" in reply.content),
        ("empty", lambda reply: reply.content == b""),
        ("broken", lambda reply: not reply.content.endswith(b"}")),
        ("wrong_bytes", lambda reply: b"\x98" in reply.content),
        ("spurious_9", lambda reply: reply.json()["error_code"] == 9),
        ("missing_records", lambda reply: "status" in reply.json()),
    ],
)
async def test_a_fault_that_is_on_is_in_the_answer(fault: str, check: Callable[[httpx.Response], bool]) -> None:
    emulator = make(faults=Faults(seed=1, **{fault: 1.0}))
    assert check(await ask(emulator, **KEY, **ONE, all="1", charset="utf-8"))
    emulator.faults.enabled = False
    assert (await ask(emulator, **KEY, **ONE, all="1", charset="utf-8")).json()["status"] == 1


async def test_records_go_missing_in_bulk_replies() -> None:
    reply = await ask(make(faults={"missing_records": 1}), **KEY, id="1,2,3", phone=",".join([PHONE] * 3), fmt="3")
    assert len(reply.json()) < 3


async def test_late_requests_arrive_late_and_late_answers_stay_open() -> None:
    emulator = make(faults=Faults(seconds=0.02, late_arrival=1, delay=1))
    assert (await ask(emulator, **KEY, **ONE)).json()["status"] == 1
    assert emulator.faults.happened == {"late_arrival": 1, "delay": 1}


@pytest.mark.parametrize("fault", ["cut", "cut_halfway"])
async def test_a_cut_connection_is_an_error_of_ours_in_process(fault: str) -> None:
    emulator = make(faults={fault: 1})
    with pytest.raises(ConnectionCut):
        await ask(emulator, **KEY, **ONE)
    assert emulator.referee.open == 0


async def test_a_deletion_whose_answer_is_lost_was_done_all_the_same() -> None:
    emulator = make(faults={"cut": 1})
    with pytest.raises(ConnectionCut):
        await ask(emulator, **KEY, id="1", phone=PHONE, **{"del": "1"})
    assert emulator.world.record(1, PHONE, at=NOON).status == -3


async def test_a_negative_latency_is_refused() -> None:
    with pytest.raises(ConfigError, match="latency"):
        Emulator(latency=-1)


async def test_a_world_can_be_shared() -> None:
    world = World(4)
    assert Emulator(world).world is world
    assert Emulator(seed=4).world.seed == 4
