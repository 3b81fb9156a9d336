"""The app answers as the vendor's page says: every format, level and charset, and every refusal."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import md5
from typing import Any

import anyio
import attrs
import httpx
import pytest

from smsc_status import StatusClient
from smsc_status._core.wire import codecs
from smsc_status.emulator import ConnectionCut, Emulator, Faults, Referee, World
from smsc_status.emulator._app import CONTENT_TYPES, MAX_BODY, Message
from smsc_status.errors import ConfigError
from smsc_status.models import Detail, Format, Limits, id_key, phone_key

DATE = datetime(2024, 3, 5, 12, tzinfo=UTC)
NOON = DATE.timestamp()
PHONE = "79990000000"
KEY = {"apikey": "demo-key"}
ONE: dict[str, Any] = {"id": "1", "phone": PHONE, "fmt": "3"}

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


@pytest.mark.parametrize("detail", Detail)
@pytest.mark.parametrize("format", Format)
async def test_each_format_level_and_charset_is_answered_as_the_codecs_write_it(format: Format, detail: Detail) -> None:
    for charset in codecs.CHARSETS:
        emulator = make(referee=Referee(bulk_requests=9))
        how = {"format": format, "detail": detail, "charset": charset}
        for ids in (["1"], ["4"], ["1", "2", "4", "77"]):
            records = [emulator.world.record(id, PHONE, at=NOON) for id in ids]
            if len(ids) > 1 and detail is not Detail.BASIC:
                records[-1] = attrs.evolve(records[-1], phone=None)
            fields = {"id": ",".join(ids), "phone": ",".join([PHONE] * len(ids))}
            reply = await ask(emulator, **KEY, **fields, fmt=int(format), all=int(detail), charset=charset)
            assert reply.status_code == 200
            assert reply.headers["content-type"] == f"{CONTENT_TYPES[format]}; charset=windows-1251"
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


async def send(emulator: Emulator, method: str = "POST", **request: Any) -> Any:
    """The JSON that answers a request as httpx takes it."""
    transport = httpx.ASGITransport(app=emulator)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return (await client.request(method, "/sys/status.php", **request)).json()


@pytest.mark.parametrize(
    "request_",
    [
        {"method": "GET", "params": KEY | ONE},
        {"params": KEY | ONE},
        {"params": KEY | ONE, "data": {}},
        {"params": KEY, "data": ONE},
        {"params": KEY | {"id": "9"}, "data": ONE},
        {"data": KEY | ONE},
        {"files": {name: (None, value) for name, value in (KEY | ONE).items()}},
        {"params": KEY, "files": {name: (None, value) for name, value in ONE.items()}},
        {"params": KEY | ONE, "json": {"id": "9"}},
    ],
)
async def test_parameters_come_in_the_address_a_form_or_a_multipart_form(request_: dict[str, Any]) -> None:
    emulator = make()
    assert (await send(emulator, **request_))["status"] == 1
    assert emulator.referee.peak_checks_per_id == 1


async def test_a_bulk_request_may_be_a_multipart_form() -> None:
    fields = KEY | {"id": "1,2,", "phone": f"{PHONE},{PHONE},", "fmt": "3"}
    assert [record["id"] for record in await send(make(), files={k: (None, v) for k, v in fields.items()})] == [1, 2]


async def test_parameters_in_a_json_body_are_not_read() -> None:
    reply = await send(make(), params={"fmt": "3"}, json=KEY | ONE)
    assert reply["error_code"] == 1


async def test_a_body_that_is_too_long_has_no_fields() -> None:
    emulator, rest = make(), {"x": ""}
    form = len(httpx.Request("POST", "http://localhost", data=KEY | ONE | rest).read())
    rest["x"] = "x" * (MAX_BODY - form)
    assert (await send(emulator, data=KEY | ONE | rest))["status"] == 1
    rest["x"] += "x"
    assert (await send(emulator, params={"fmt": "3"}, data=KEY | ONE | rest))["error_code"] == 1


async def test_a_bulk_reply_is_in_the_order_of_the_request_and_keeps_repetitions() -> None:
    reply = await ask(make(), **KEY, id="3,1,3", phone=",".join([PHONE] * 3), fmt="3")
    assert [record["id"] for record in reply.json()] == [3, 1, 3]


async def test_a_trailing_comma_asks_for_a_bulk_reply() -> None:
    emulator = make()
    reply = await ask(emulator, **KEY, id="1,", phone=f"{PHONE},", fmt="3")
    assert [record["status"] for record in reply.json()] == [1]
    assert emulator.referee.peak_bulk == 1


@pytest.mark.parametrize(
    ("options", "claimed"),
    [({}, "windows-1251"), ({"header_charset": None}, "utf-8"), ({"header_charset": "koi8-r"}, "koi8-r")],
)
async def test_the_charset_in_the_header_is_the_vendors_own_unless_told_otherwise(
    options: dict[str, Any], claimed: str
) -> None:
    reply = await ask(make(**options), **KEY, **ONE, charset="utf-8", all="1")
    assert reply.headers["content-type"] == f"application/json; charset={claimed}"
    assert json.loads(reply.content.decode("utf-8"))["message"] == "привет"


async def test_a_client_that_trusts_the_header_misreads_utf_8() -> None:
    reply = await ask(make(), **KEY, **ONE, charset="utf-8", all="1")
    assert "привет" not in reply.text


@pytest.mark.parametrize("charset", ["", "a b", "utf-8\r\nx: y", "я"])
async def test_a_charset_that_no_header_can_name_is_refused(charset: str) -> None:
    with pytest.raises(ConfigError, match="header_charset"):
        Emulator(header_charset=charset)


async def test_the_date_of_an_answer_is_the_emulated_one() -> None:
    emulator = make(speed=1000)
    emulator.now()
    await anyio.sleep(0.06)
    reply = await ask(emulator, **KEY, **ONE)
    dates = reply.headers.get_list("date")
    assert len(dates) == 1
    assert 60 <= parsedate_to_datetime(dates[0]).timestamp() - NOON <= emulator.now() - NOON


@pytest.mark.parametrize(
    "credentials",
    [
        {"login": "demo", "psw": "demo"},
        {"login": "demo", "psw": md5(b"demo").hexdigest()},
        {"apikey": "demo-key"},
        {"apikey": "demo-key", "login": "", "psw": ""},
        {"apikey": "", "login": "demo", "psw": "demo"},
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
        ({"login": "", "psw": "", "apikey": ""}, 1),
        ({"login": "demo"}, 2),
        ({"login": "demo", "psw": "demo-key"}, 2),
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


async def test_a_blocked_address_gets_error_4_until_it_is_free_again() -> None:
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


@pytest.mark.parametrize(("ids", "code"), [("1,77,2", 5), ("1,2", None), ("1,1", None)])
async def test_a_bulk_deletion_deletes_all_or_nothing(ids: str, code: int | None) -> None:
    emulator = make()
    phones = ",".join([PHONE] * (ids.count(",") + 1))
    assert await error_of(emulator, **KEY, id=ids, phone=phones, fmt="3", **{"del": "1"}) == code
    assert emulator.world.record(1, PHONE, at=NOON).status == (-3 if code is None else 1)
    assert emulator.world.record(3, PHONE, at=NOON).status == 1


@pytest.mark.parametrize("detail", [Detail.FULL, Detail.EXTENDED])
@pytest.mark.parametrize(("options", "is_there"), [({}, False), ({"phone_of_missing": True}, True)])
async def test_a_message_that_is_missing_from_a_bulk_reply_has_its_id_alone(
    detail: Detail, options: dict[str, Any], is_there: bool
) -> None:
    emulator = make(**options, referee=Referee(bulk_requests=9))
    asked = {"id": "1,77", "phone": f"{PHONE},{PHONE}", "all": str(int(detail)), "charset": "utf-8"}
    fields = KEY | asked
    missing = {"status": -3, "id": 77} | ({"phone": PHONE} if is_there else {})
    assert (await ask(emulator, **fields, fmt="3")).json()[1] == missing
    for format in ("0", "1", "2"):
        assert (await ask(emulator, **fields, fmt=format)).text.count(PHONE) == 1 + is_there


BAD = [
    {"apikey": "wrong"} | ONE,
    {"login": "demo", "psw": "wrong"} | ONE,
    ONE,
    KEY | ONE | {"phone": "x"},
    KEY | ONE | {"fmt": "9"},
    KEY | ONE | {"id": "1,0", "phone": f"{PHONE},{PHONE}"},
]


@pytest.mark.parametrize("bad", BAD)
async def test_a_request_with_an_error_of_its_own_takes_none_of_the_accounts_tokens(bad: dict[str, Any]) -> None:
    emulator = make()
    for _ in range(7):
        await ask(emulator, **bad)
    assert [await error_of(emulator, **KEY, **ONE) for _ in range(6)] == [None] * 5 + [9]
    assert await error_of(emulator, **KEY, id="1,", phone=PHONE, fmt="3") == 9  # its id has no token
    assert (emulator.referee.peak_bulk, emulator.referee.peak_checks_per_id) == (1, 7)


async def test_a_blocked_address_takes_none_of_the_account_s_tokens() -> None:
    emulator = make()
    emulator.blocked = True
    assert [await error_of(emulator, **KEY, **ONE) for _ in range(7)] == [4] * 7
    assert emulator.referee.no_violations
    assert emulator.referee.requests.total() == 7


async def test_a_request_with_an_error_of_its_own_is_open_like_any_other() -> None:
    emulator = make(latency=0.05)
    async with anyio.create_task_group() as group:
        for bad in BAD[:4]:
            group.start_soon(lambda bad: ask(emulator, **bad), bad)
        await anyio.sleep(0.01)
        assert await error_of(emulator, **KEY, **ONE) == 9
    assert emulator.referee.peak_open == 5
    assert emulator.referee.refusals == {"connections": 1}


async def test_a_referee_may_count_invalid_requests_which_the_server_does_not() -> None:
    emulator = make(referee=Referee(count_invalid=True))
    assert [await error_of(emulator, apikey="wrong", **ONE) for _ in range(5)] == [2] * 5
    assert await error_of(emulator, **KEY, **ONE) == 9


async def test_six_refusals_within_a_minute_block_the_address_for_a_while() -> None:
    emulator = make(speed=1000, faults=Faults(ip_blocked=1, block_seconds=120))
    assert [await error_of(emulator, **KEY, **ONE) for _ in range(13)] == [None] * 5 + [9] * 6 + [4] * 2
    assert emulator.stats()["blocked"] is True
    assert emulator.faults.happened == {"ip_blocked": 1}
    await anyio.sleep(0.121)
    assert await error_of(emulator, **KEY, **ONE) is None
    assert emulator.stats()["blocked"] is False


async def test_five_refusals_a_minute_block_nobody() -> None:
    emulator = make(speed=1000, faults=Faults(ip_blocked=1))
    for _ in range(3):
        assert [await error_of(emulator, **KEY, **ONE) for _ in range(10)] == [None] * 5 + [9] * 5
        await anyio.sleep(0.061)


async def test_refusals_block_nobody_while_the_fault_is_off() -> None:
    emulator = make()
    assert [await error_of(emulator, **KEY, **ONE) for _ in range(20)] == [None] * 5 + [9] * 15


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
    assert not emulator.referee.no_violations


async def test_a_request_that_was_given_up_is_not_open_any_more() -> None:
    emulator = make(latency=60)
    with anyio.move_on_after(0.02):
        await ask(emulator, **KEY, **ONE)
    assert (emulator.referee.open, emulator.referee.peak_open) == (0, 1)


async def test_messages_live_at_the_emulated_speed() -> None:
    emulator = make(speed=1000)
    ref = emulator.world.add(9, PHONE, sent_at=emulator.now(), life=((0, 0), (30, 1)))
    assert (await ask(emulator, **KEY, id="9", phone=PHONE, fmt="3")).json()["status"] == 0
    await anyio.sleep(0.031)
    assert (await ask(emulator, **KEY, id="9", phone=PHONE, fmt="3")).json()["status"] == 1
    assert emulator.world.status_at(ref, emulator.now()) == 1


async def test_a_client_can_go_by_the_emulated_date() -> None:
    emulator = make(speed=60)
    before = emulator.wall_clock()
    assert before == DATE
    await anyio.sleep(2)
    assert (emulator.wall_clock() - before).total_seconds() == pytest.approx(120)
    assert emulator.wall_clock().utcoffset() is not None


async def test_the_limits_of_a_client_follow_the_speed_and_the_referee() -> None:
    assert make().client_limits() == Limits()
    fast = make(speed=60, max_bulk=50, referee=Referee(checks_per_id=3, bulk_requests=2, period=30, connections=5))
    shared: dict[str, Any] = {"checks_per_id": 3, "bulk_requests": 2, "connections": 5}
    expected = Limits(**shared, max_bulk=50, period=0.5, margin=1 / 60, linger=1 / 6)
    assert fast.client_limits() == expected
    assert fast.client_limits(linger=2, max_bulk=7) == attrs.evolve(expected, linger=2, max_bulk=7)


async def test_a_client_with_these_limits_keeps_those_of_a_fast_server() -> None:
    emulator = make(speed=1000)
    sent_at = emulator.now()
    ref = emulator.world.add(9, PHONE, sent_at=sent_at, life=((0, -1), (5, 0), (90, 1)))
    client = StatusClient(
        apikey="demo-key",
        base_url="http://localhost",
        transport=httpx.ASGITransport(app=emulator),
        wall_clock=emulator.wall_clock,
        limits=emulator.client_limits(),
    )
    async with client:
        records = [await client.check(ref.id, ref.phone) for _ in range(12)]
    assert emulator.referee.no_violations
    assert emulator.elapsed() > 120
    assert records[-1].is_delivered
    for record in records:
        assert record.checked_at is not None
        assert sent_at <= record.checked_at.timestamp() <= emulator.now()


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("PUT", "/sys/status.php", 405)])
async def test_any_other_path_or_method_is_an_http_error(method: str, path: str, status: int) -> None:
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


async def test_missing_records_are_left_out_of_bulk_replies() -> None:
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
