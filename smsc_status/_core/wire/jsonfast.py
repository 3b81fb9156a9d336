"""Quickly reads JSON records whose values are as the vendor's page documents them.

Values are checked for their types while they are parsed. `jsonform` reads all other records key by key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from smsc_status._core.drafts import Draft, HlrDraft
from smsc_status._core.wire.portions import Portions
from smsc_status._core.wire.values import COSTS, SHARED_NAMES, refuse_too_many_rows
from smsc_status.models import MOSCOW, HlrRecord, Identity, StatusRecord

Int = Annotated[int, Meta(gt=-(10**18), lt=10**18)]
NumericId = Annotated[int, Meta(ge=0, lt=10**18)]
TextId = Annotated[str, Meta(min_length=1)]

PORTION = 1 << 16
"""How many bytes of a list are parsed at a time; each portion goes on to the end of a record."""

_BETWEEN = re.compile(rb"\}[ \t\r\n]*+,[ \t\r\n]*+(?=\{)")
_new = object.__new__


class DocumentedRecord(msgspec.Struct, gc=False):
    """A record's values in JSON, in the order in which they mostly come. Other keys are ignored."""

    status: Int
    last_date: str | None = None
    last_timestamp: Int | None = None
    flag: Int | None = None
    err: Int | None = None
    send_date: str | None = None
    send_timestamp: Int | None = None
    phone: str | None = None
    cost: str | None = None
    sender_id: str | None = None
    status_name: str | None = None
    message: str | None = None
    comment: str | None = None
    mccmnc: str | None = None
    country: str | None = None
    operator: str | None = None
    operator_orig: str | None = None
    region: str | None = None
    type: Int | None = None
    sms_cnt: Int | None = None
    id: NumericId | TextId | None = None
    imsi: str | UnsetType | None = UNSET
    msc: str | UnsetType | None = UNSET
    mcc: str | UnsetType | None = UNSET
    mnc: str | UnsetType | None = UNSET
    cn: str | UnsetType | None = UNSET
    net: str | UnsetType | None = UNSET
    rcn: str | UnsetType | None = UNSET
    rnet: str | UnsetType | None = UNSET


_parse = msgspec.json.Decoder(DocumentedRecord).decode
_parse_all = msgspec.json.Decoder(list[DocumentedRecord]).decode


def records_of(body: bytes, asked: Sequence[Identity]) -> Portions[list[StatusRecord]]:
    """The records of a list in UTF-8.

    Raises:
        ProtocolError: there are far more records than messages that were asked about.
        ValueError: not all records are as documented, or a text is not UTF-8. msgspec's errors are `ValueError` too.
        RecursionError: a value is nested too deeply.
    """
    records: list[StatusRecord] = []
    for portion in portions_of(body):
        if records:
            yield
        wires = _parse_all(portion)
        wires.reverse()
        while wires:  # each is freed once its record is made, with the texts that other records share
            records.append(_record(wires.pop()))
        refuse_too_many_rows(len(records), asked)
    return records


def portions_of(body: bytes) -> Iterator[bytes]:
    """Cut the list where a record seems to end, into lists that fit into the processor's cache.

    All of them can be parsed if and only if every cut is between two records.
    """
    began_at, opening = 0, b""
    while found := _BETWEEN.search(body, began_at + PORTION):
        yield opening + body[began_at : found.start() + 1] + b"]"
        began_at, opening = found.end(), b"["
    yield opening + body[began_at:] if opening else body


def record_of(body: bytes) -> StatusRecord:
    """Read a single record in UTF-8. Raises as `records_of` does."""
    return _record(_parse(body))


def _record(wire: DocumentedRecord) -> StatusRecord:
    cost = COSTS[wire.cost]
    draft: Any  # `Any`: the type's fields are frozen
    record: type[StatusRecord] = StatusRecord
    if not (
        wire.imsi is wire.msc is wire.mcc is wire.mnc is wire.cn is wire.net is wire.rcn is wire.rnet is UNSET
        # the same as `is_look_up`, written out: the call would make reading a record 3 % slower
        and (wire.type or 0) & -2 != 4
        and (wire.flag or 0) & 0xE != 4
    ):
        draft, record = _new(HlrDraft), HlrRecord
        _look_up(draft, wire)
    else:
        draft = _new(Draft)
    names = SHARED_NAMES
    draft.status = wire.status
    draft.last_date = wire.last_date
    draft.last_timestamp = wire.last_timestamp
    draft.flag = wire.flag
    draft.err = wire.err
    draft.send_date = wire.send_date
    draft.send_timestamp = wire.send_timestamp
    draft.phone = wire.phone
    draft.cost = cost
    draft.sender_id = names[wire.sender_id]
    draft.status_name = names[wire.status_name]
    draft.message = wire.message
    draft.comment = wire.comment
    draft.mccmnc = names[wire.mccmnc]
    draft.country = names[wire.country]
    draft.operator = names[wire.operator]
    draft.operator_orig = names[wire.operator_orig]
    draft.region = names[wire.region]
    draft.type = wire.type
    draft.sms_cnt = wire.sms_cnt
    draft.id = wire.id
    draft.ref = draft.checked_at = None
    draft.timezone = MOSCOW
    draft.unclear = ()
    draft.__class__ = record
    finished: StatusRecord = draft
    return finished


def _look_up(draft: Any, wire: DocumentedRecord) -> None:
    names = SHARED_NAMES
    draft.imsi = None if wire.imsi is UNSET else wire.imsi
    draft.msc = None if wire.msc is UNSET else wire.msc
    draft.mcc = None if wire.mcc is UNSET else names[wire.mcc]
    draft.mnc = None if wire.mnc is UNSET else names[wire.mnc]
    draft.cn = None if wire.cn is UNSET else names[wire.cn]
    draft.net = None if wire.net is UNSET else names[wire.net]
    draft.rcn = None if wire.rcn is UNSET else names[wire.rcn]
    draft.rnet = None if wire.rnet is UNSET else names[wire.rnet]
