"""Outcomes as plain JSON values, for the command line, for web frameworks and for storage.

A record's fields have the wire's names. Its views (the titles, the instants, whether it is final) stand beside them.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smsc_status.models import FailedCheck, StatusRecord

Plain = dict[str, Any]
"""Values by name: texts, numbers, booleans, `None`, and lists of texts."""

HEAD = (
    "id", "phone", "status", "status_title", "err", "error_title", "is_final", "is_delivered", "channel",
    "changed_at", "sent_at", "checked_at",
)  # fmt: skip
"""The names in every record; `None` if they are not known."""

DETAILS = (
    ("flag", "imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet", "reachable"),
    ("cost", "sender_id", "status_name", "message", "comment", "type", "sms_cnt"),
    ("mccmnc", "country", "operator", "operator_orig", "region"),
)
"""The names that each level of detail adds to the level before it. A name is present if the server sent its value."""

DOUBT = "unclear"
"""The name of the list of uncertain fields. It is present if there are any."""

FAILURE = ("error", "text")
"""The names in a failure, beside the id and the phone: the class of the error, and what it says."""


def of_record(record: StatusRecord[Any]) -> Plain:
    """See `StatusRecord.to_dict`."""
    title, error_title = record.status_title, record.error_title
    plain = _message(record.ref if record.ref is not None else (record.id, record.phone)) | {
        "status": record.status,
        "status_title": title and title.en,
        "err": record.err,
        "error_title": error_title and error_title.en,
        "is_final": record.is_final,
        "is_delivered": record.is_delivered,
        "channel": record.channel.value,
        "changed_at": _moment(record.changed_at),
        "sent_at": _moment(record.sent_at),
        "checked_at": _moment(record.checked_at),
    }
    for name in (name for names in DETAILS for name in names):
        value = getattr(record, name, None)
        if value is not None:
            plain[name] = str(value) if isinstance(value, Decimal) else value
    if record.unclear:
        plain[DOUBT] = list(record.unclear)
    return plain


def of_failure(failure: FailedCheck[Any]) -> Plain:
    """See `FailedCheck.to_dict`."""
    return _message(failure.ref) | {"error": type(failure.error).__name__, "text": str(failure.error)}


def _message(ref: Any) -> Plain:
    """The id and phone of a message, or of a tuple that was put in as one and can't be read."""
    if isinstance(ref, tuple | list):
        id, phone = [*ref, None, None][:2]
    else:
        id, phone = getattr(ref, "id", None), getattr(ref, "phone", None)
    return {"id": _json_value(id), "phone": _json_value(phone)}


def _json_value(value: object) -> int | str | None:
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")


# What pydantic asks for. Nothing of it is imported before it asks.

_NULL = {"type": "null"}
_TEXT, _NUMBER, _TRUTH = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_MOMENT = {"anyOf": [{"type": "string", "format": "date-time"}, _NULL]}
_TYPES: Plain = {
    "id": {"anyOf": [_NUMBER, _TEXT, _NULL]},
    "phone": {"anyOf": [_TEXT, _NULL]},
    "status": _NUMBER,
    "status_title": {"anyOf": [_TEXT, _NULL]},
    "err": {"anyOf": [_NUMBER, _NULL]},
    "error_title": {"anyOf": [_TEXT, _NULL]},
    "is_final": _TRUTH,
    "is_delivered": _TRUTH,
    "changed_at": _MOMENT,
    "sent_at": _MOMENT,
    "checked_at": _MOMENT,
    "flag": _NUMBER,
    "reachable": _TRUTH,
    "type": _NUMBER,
    "sms_cnt": _NUMBER,
    DOUBT: {"type": "array", "items": _TEXT},
}
"""The types of the values in JSON Schema; all others are texts."""


def core_schema(cls: type[Any]) -> Any:
    """How pydantic takes an outcome: as an object of this class, which it writes as `to_dict` does."""
    from pydantic_core import core_schema as of_pydantic  # noqa: PLC0415 (only where pydantic asks)

    as_dict = of_pydantic.plain_serializer_function_ser_schema(_to_dict)
    return of_pydantic.is_instance_schema(cls, serialization=as_dict)


def _to_dict(outcome: StatusRecord[Any] | FailedCheck[Any]) -> Plain:
    return outcome.to_dict()


def json_schema(cls: type[Any], always: tuple[str, ...], sometimes: tuple[str, ...] = ()) -> Plain:
    """The JSON Schema of what `to_dict` of this class gives: the names that are always there, and the others."""
    properties = {name: _TYPES.get(name, _TEXT) for name in (*always, *sometimes)}
    return {"title": cls.__name__, "type": "object", "properties": properties, "required": list(always)}
