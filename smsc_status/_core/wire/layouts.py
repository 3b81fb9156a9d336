"""The table of a reply's fields and their order, by format, level of detail and kind of record.

It follows https://smsc.ru/api/http/status_messages/check_status/. Everything that differs between the levels, and
between messages and number look-ups (HLR), is here. The formats' modules know only how to write a row.
"""

from __future__ import annotations

from typing import NamedTuple

from smsc_status.models import Detail, Format

Columns = tuple[str, ...]


class Level(NamedTuple):
    """The fields of a message and of a number look-up at one level of detail."""

    sms: Columns
    hlr: Columns


HLR_KEYS: Columns = ("imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet")
"""The fields that only a number look-up has."""

NOT_FOUND = -3
NOT_FOUND_COLUMNS: Columns = ("status",)

_HLR = HLR_KEYS
_PLACE = ("country", "operator", "region")
_NETWORK = ("mccmnc", "country", "operator", "operator_orig", "region")
_PRICE = ("cost", "sender_id", "status_name")
_TEXT = ("message", "comment")

_PLAIN_HEAD = ("status", "last_date", "err")
_PLAIN_SENT = ("send_date", "phone")
_CSV_HEAD = ("status", "last_timestamp", "err")
_CSV_SENT = ("send_timestamp", "phone")
_KEYED_HEAD = ("status", "last_date", "last_timestamp", "flag", "err")
_KEYED_SENT = ("send_date", "send_timestamp", "phone")

_PLAIN = (
    Level(_PLAIN_HEAD, (*_PLAIN_HEAD, *_HLR)),
    Level(
        (*_PLAIN_HEAD, *_PLAIN_SENT, *_PRICE, *_TEXT, "type"),
        (*_PLAIN_HEAD, *_HLR, *_PLAIN_SENT, *_PRICE, "message", "type"),
    ),
    Level(
        (*_PLAIN_HEAD, *_PLAIN_SENT, *_NETWORK, *_PRICE, *_TEXT, "type"),
        (*_PLAIN_HEAD, *_HLR, *_PLAIN_SENT, *_PLACE, *_PRICE, "message", "type"),
    ),
)
_CSV = (
    Level(_CSV_HEAD, (*_CSV_HEAD, *_HLR)),
    Level(
        (*_CSV_HEAD, *_CSV_SENT, *_PRICE, *_TEXT, "type"),
        (*_CSV_HEAD, *_HLR, *_CSV_SENT, *_PRICE, "message", "type"),
    ),
    Level(
        (*_CSV_HEAD, *_CSV_SENT, *_PLACE, *_PRICE, *_TEXT, "type"),
        (*_CSV_HEAD, *_HLR, *_CSV_SENT, *_PLACE, *_PRICE, "message", "type"),
    ),
)
_KEYED = (
    Level(_KEYED_HEAD, (*_KEYED_HEAD, *_HLR)),
    Level(
        (*_KEYED_HEAD, *_KEYED_SENT, *_PRICE, *_TEXT, "type", "sms_cnt"),
        (*_KEYED_HEAD, *_HLR, *_KEYED_SENT, *_PRICE, "message", "type"),
    ),
    Level(
        (*_KEYED_HEAD, *_KEYED_SENT, *_PRICE, *_TEXT, *_NETWORK, "type", "sms_cnt"),
        (*_KEYED_HEAD, *_HLR, *_KEYED_SENT, *_PRICE, "message", *_PLACE, "type"),
    ),
)

LAYOUTS: dict[Format, tuple[Level, ...]] = {
    Format.PLAIN: _PLAIN,
    Format.CSV: _CSV,
    Format.XML: _KEYED,
    Format.JSON: _KEYED,
}


def columns_of(format: Format, detail: Detail, *, hlr: bool, found: bool, bulk: bool) -> Columns:
    """The fields of one record, in the order of the wire. In a bulk reply the last ones name the message."""
    if not found:
        return (*NOT_FOUND_COLUMNS, "id", "phone") if bulk else NOT_FOUND_COLUMNS
    level = LAYOUTS[format][detail]
    columns = level.hlr if hlr else level.sms
    if not bulk:
        return columns
    return (*columns, "id") if "phone" in columns else (*columns, "id", "phone")
