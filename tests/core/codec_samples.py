"""Records and replies that the codecs' tests share."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs

from smsc_status._core.wire import codecs
from smsc_status.models import Detail, Format, HlrRecord, Identity, StatusRecord

PHONE = "79990000001"
WHO: Identity = (5, PHONE)
ASKED: list[Identity] = [(5, PHONE), (6, "79990000002"), (7, "79990000003")]
MAILING: list[Identity] = [(5, PHONE), (5, "79990000002"), (5, "79990000003")]

BASIC = {"last_date": "24.11.2026 10:00:00", "last_timestamp": 1795503600, "flag": 0, "err": 0}
FULL = BASIC | {
    "send_date": "24.11.2026 09:59:50",
    "send_timestamp": 1795503590,
    "cost": Decimal("1.20"),
    "sender_id": "SMSC.RU",
    "status_name": "Доставлено",
    "message": "Hello",
    "comment": "order 7",
    "type": 0,
    "sms_cnt": 1,
}
EXTENDED = FULL | {
    "mccmnc": "25001",
    "country": "Россия",
    "operator": "МТС",
    "operator_orig": "Билайн",
    "region": "Москва",
}
LOOKED_UP = {
    "imsi": "250011234567890",
    "msc": "79168999999",
    "mcc": "250",
    "mnc": "01",
    "cn": "Россия",
    "net": "МТС",
    "rcn": "Турция",
    "rnet": "Turkcell",
}

UNSENT: dict[Format, dict[bool, set[str]]] = {
    Format.PLAIN: {
        False: {"last_timestamp", "send_timestamp", "flag", "sms_cnt"},
        True: {"last_timestamp", "send_timestamp", "flag", "sms_cnt", "comment", "mccmnc", "operator_orig"},
    },
    Format.CSV: {
        False: {"last_date", "send_date", "flag", "sms_cnt", "mccmnc", "operator_orig"},
        True: {"last_date", "send_date", "flag", "sms_cnt", "mccmnc", "operator_orig", "comment"},
    },
    Format.XML: {False: set(), True: {"comment", "sms_cnt", "mccmnc", "operator_orig"}},
    Format.JSON: {False: set(), True: {"comment", "sms_cnt", "mccmnc", "operator_orig"}},
}


def record(
    format: Format, detail: Detail, who: Identity = WHO, *, hlr: bool = False, bulk: bool = False, **changes: Any
) -> StatusRecord:
    """A record that has exactly what this form carries."""
    fields: dict[str, Any] = {"status": 1, **(BASIC, FULL, EXTENDED)[detail]}
    if hlr:
        fields |= LOOKED_UP | {"flag": 4}
        if detail is not Detail.BASIC:
            fields |= {"type": 4, "sender_id": "HLR", "message": ""}
    fields = {name: value for name, value in fields.items() if name not in UNSENT[format][hlr]} | changes
    if bulk:
        fields["id"] = who[0]
    if bulk or detail is not Detail.BASIC:
        fields["phone"] = who[1]
    return (HlrRecord if hlr else StatusRecord)(**fields)


def decode(
    body: bytes | str,
    format: Format,
    detail: Detail = Detail.BASIC,
    *,
    asked: Sequence[Identity] = (WHO,),
    bulk: bool = False,
    charset: str = "utf-8",
) -> list[codecs.Row] | codecs.ErrorReply:
    """`codecs.decode` with the arguments that most tests do not care about."""
    raw = body if isinstance(body, bytes) else body.encode(charset)
    return codecs.decode(raw, format=format, detail=detail, charset=charset, asked=asked, bulk=bulk)


def rows(
    body: bytes | str,
    format: Format,
    detail: Detail = Detail.BASIC,
    *,
    asked: Sequence[Identity] = (WHO,),
    bulk: bool = False,
    charset: str = "utf-8",
) -> list[codecs.Row]:
    """The rows of a reply that is no refusal."""
    found = decode(body, format, detail, asked=asked, bulk=bulk, charset=charset)
    assert isinstance(found, list)
    return found


def one(body: bytes | str, format: Format, detail: Detail = Detail.BASIC, *, bulk: bool = False) -> StatusRecord:
    """The one record of a reply."""
    (row,) = rows(body, format, detail, bulk=bulk)
    assert isinstance(row, StatusRecord), row
    return row


def bad(body: bytes | str, format: Format, detail: Detail = Detail.BASIC, *, bulk: bool = False) -> codecs.BadRow:
    """The one row of a reply, which can't be read."""
    (row,) = rows(body, format, detail, bulk=bulk)
    assert isinstance(row, codecs.BadRow), row
    return row


def sent(row: codecs.Row) -> dict[str, Any]:
    """What a record says, without what it does not, and what of it is unclear."""
    assert isinstance(row, StatusRecord), row
    found = attrs.asdict(row, recurse=False)
    return {name: value for name, value in found.items() if value not in (None, ()) and name != "timezone"}
