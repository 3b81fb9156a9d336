"""Records and failures as plain JSON values: by `to_dict`, and by what frameworks make of them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs
import httpx
import msgspec
import pytest
from fastapi import FastAPI
from helpers import PHONE
from pydantic import BaseModel, TypeAdapter, ValidationError

from smsc_status import FailedCheck, HlrRecord, MessageRef, StatusRecord, TransportError
from smsc_status._plain import DETAILS, DOUBT, HEAD

REF = MessageRef(7, PHONE, datetime(2026, 3, 10, 20, tzinfo=UTC))
NOON = datetime(2026, 3, 11, 12, 0, 0, 999, tzinfo=UTC)
RECORD = StatusRecord(
    ref=REF, checked_at=NOON, status=20, err=6, last_timestamp=1773175303, flag=1, cost=Decimal("2.50"), sms_cnt=2,
    message="привет", unclear=("comment",),
)  # fmt: skip
BARE = StatusRecord(status=-3, ref=REF)
LOOK_UP = HlrRecord(status=1, err=0, type=4, imsi="2500", ref=REF, checked_at=NOON)
FAILURE = FailedCheck(REF, TransportError("cut"))
OUTCOMES = [RECORD, BARE, LOOK_UP, FAILURE]


def test_a_record_is_its_fields_and_its_views() -> None:
    """Under the wire's names; what was not sent is left out, beside what every record has."""
    assert RECORD.to_dict() == {
        "id": 7,
        "phone": PHONE,
        "status": 20,
        "status_title": "Can't be delivered",
        "err": 6,
        "error_title": "Subscriber offline",
        "is_final": True,
        "is_delivered": False,
        "channel": "sms",
        "changed_at": "2026-03-10T20:41:43+00:00",
        "sent_at": None,
        "checked_at": "2026-03-11T12:00:00+00:00",
        "flag": 1,
        "cost": "2.50",
        "message": "привет",
        "sms_cnt": 2,
        "unclear": ["comment"],
    }
    assert list(BARE.to_dict()) == list(HEAD)
    assert LOOK_UP.to_dict()["reachable"] is True


def test_a_record_without_a_ref_has_the_reply_s_id_and_phone() -> None:
    """A record may be made by hand."""
    plain = StatusRecord(status=1, id=8, phone="79").to_dict()
    assert (plain["id"], plain["phone"], plain["checked_at"]) == (8, "79", None)


@pytest.mark.parametrize(
    ("ref", "id", "phone"),
    [
        (REF, 7, PHONE),
        (("no good", PHONE), "no good", PHONE),
        ([True, 79.5, None], None, None),
        (("alone",), "alone", None),
        (None, None, None),
    ],
)
def test_a_failure_names_its_message_as_far_as_it_can_be_read(ref: Any, id: object, phone: object) -> None:
    """What was put in in place of a message may be anything."""
    plain = FailedCheck(ref, TransportError("cut")).to_dict()
    assert plain == {"id": id, "phone": phone, "error": "TransportError", "text": "cut"}


def test_no_field_of_a_record_is_forgotten() -> None:
    """Each is under its own name, or in one of the views."""
    in_views = {"last_date", "last_timestamp", "send_date", "send_timestamp", "timezone", "ref"}
    names = {field.name for field in attrs.fields(HlrRecord)}
    assert names - in_views == {*HEAD, *sum(DETAILS, ()), DOUBT} & names


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_json_and_msgspec_write_it(outcome: StatusRecord | FailedCheck) -> None:
    """They need to know nothing of this library."""
    plain = outcome.to_dict()
    assert msgspec.json.decode(msgspec.json.encode(plain)) == json.loads(json.dumps(plain)) == plain


# pydantic and FastAPI.


class Answer(BaseModel):
    """A model of a user's own."""

    outcome: StatusRecord | FailedCheck


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_field_of_a_pydantic_model_takes_an_outcome_and_writes_it(outcome: StatusRecord | FailedCheck) -> None:
    """The object itself is kept; both ways of writing are those of `to_dict`."""
    answer = Answer(outcome=outcome)
    assert answer.outcome is outcome
    assert answer.model_dump() == json.loads(answer.model_dump_json()) == {"outcome": outcome.to_dict()}


def test_pydantic_takes_nothing_but_an_outcome() -> None:
    """Plain values can't be made into a record: they lack what the views were made of."""
    with pytest.raises(ValidationError):
        Answer(outcome=RECORD.to_dict())  # type: ignore[arg-type] # that is what is tested
    with pytest.raises(ValidationError):
        TypeAdapter(HlrRecord).validate_python(RECORD)


def conforms(value: object, schema: dict[str, Any]) -> bool:
    """Whether a value has the type that its JSON Schema gives."""
    if "anyOf" in schema:
        return any(conforms(value, one) for one in schema["anyOf"])
    if schema["type"] == "array":
        return isinstance(value, list) and all(conforms(one, schema["items"]) for one in value)
    if "format" in schema:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    kind: object = schema["type"]
    return {int: "integer", str: "string", bool: "boolean", type(None): "null"}[type(value)] == kind


@pytest.mark.parametrize("mode", ["validation", "serialization"])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_json_schema_says_what_comes_out(outcome: StatusRecord | FailedCheck, mode: Any) -> None:
    """Every value that is written has its type there, and every required one is written."""
    schema = TypeAdapter(type(outcome)).json_schema(mode=mode)
    plain = outcome.to_dict()
    assert schema["title"] == type(outcome).__name__
    assert {name for name, value in plain.items() if not conforms(value, schema["properties"][name])} == set()
    assert set(schema["required"]) <= set(plain)


def test_the_json_schema_has_the_types_of_all_fields() -> None:
    """A full record of wrong types would be noticed, so a full one of right types is none."""
    values: dict[str, Any] = {"cost": Decimal(1), "ref": REF, "checked_at": NOON, "unclear": ("err",)}
    for field in attrs.fields(HlrRecord):
        if field.name not in (*values, "timezone", "last_date", "send_date"):
            values[field.name] = "text" if "str" in str(field.type) and field.name != "id" else 3
    plain = HlrRecord(**values).to_dict()
    properties = TypeAdapter(HlrRecord).json_schema()["properties"]
    assert set(plain) == set(properties)
    assert [name for name, value in plain.items() if not conforms(value, properties[name])] == []
    assert not conforms("3", properties["flag"])


app = FastAPI()


@app.get("/record")
async def record() -> StatusRecord:
    """The return type alone is the response model."""
    return RECORD


@app.get("/outcome", response_model=StatusRecord | FailedCheck)
async def outcome() -> object:
    """A union is one too."""
    return FAILURE


@app.get("/outcomes")
async def outcomes() -> list[StatusRecord | FailedCheck]:
    """And so is a list."""
    return [RECORD, LOOK_UP, FAILURE]


def got(path: str) -> Any:
    """What the app answers."""

    async def get() -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as web:
            return (await web.get(path)).json()

    return asyncio.run(get())


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/record", RECORD.to_dict()),
        ("/outcome", FAILURE.to_dict()),
        ("/outcomes", [RECORD.to_dict(), LOOK_UP.to_dict(), FAILURE.to_dict()]),
    ],
)
def test_fastapi_takes_outcomes_as_response_models(path: str, answer: object) -> None:
    """Without a line of one's own."""
    assert got(path) == answer


def test_fastapi_describes_the_response() -> None:
    """In its OpenAPI document."""
    paths = got("/openapi.json")["paths"]
    schema = paths["/record"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema["properties"]["cost"] == {"type": "string"}


@pytest.mark.slow
def test_nothing_of_pydantic_is_loaded_before_it_asks() -> None:
    """Whoever does not use it needs not have it."""
    code = """if True:
        import sys
        from smsc_status import FailedCheck, SmscError, StatusRecord
        FailedCheck(None, SmscError()).to_dict(), StatusRecord(status=1).to_dict()
        print([name for name in sys.modules if name.startswith("pydantic")])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
