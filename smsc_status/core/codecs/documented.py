"""Records of values that are as the page documents them: typed while they are parsed, and made in one go.

Anything else is read key by key, in `values`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from smsc_status.core.codecs.values import COSTS, NAMES, SHARED, Row
from smsc_status.models import MOSCOW, Draft, HlrRecord, StatusRecord

Int = Annotated[int, Meta(gt=-(10**18), lt=10**18)]
NumericId = Annotated[int, Meta(ge=0, lt=10**18)]
TextId = Annotated[str, Meta(min_length=1)]


class Documented(msgspec.Struct, gc=False):
    """A record's values in JSON, in the order in which most of them come. Other keys are ignored."""

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


_parse = msgspec.json.Decoder(Documented).decode


def rows_of(raws: Iterable[bytes | msgspec.Raw], otherwise: Callable[[bytes], Row]) -> list[Row]:
    """The rows of these records, each of them JSON in UTF-8; of one that is not as documented, what `otherwise` makes.

    They are parsed and made one by one, so that texts which a record shares with others live for a moment only.
    """
    rows: list[Row] = []
    new, shared, costs, parse = object.__new__, SHARED, COSTS, _parse
    for raw in raws:
        try:
            wire = parse(raw)
            cost = costs[wire.cost]
        except (ValueError, RecursionError):  # each error of msgspec is the former, and so is a text that is no UTF-8
            rows.append(otherwise(bytes(raw)))
            continue
        if not (wire.imsi is wire.msc is wire.mcc is wire.mnc is wire.cn is wire.net is wire.rcn is wire.rnet is UNSET):
            rows.append(_look_up(wire))
            continue
        draft: Any = new(Draft)  # to the type checker its fields are frozen
        draft.status = wire.status
        draft.last_date = wire.last_date
        draft.last_timestamp = wire.last_timestamp
        draft.flag = wire.flag
        draft.err = wire.err
        draft.send_date = wire.send_date
        draft.send_timestamp = wire.send_timestamp
        draft.phone = wire.phone
        draft.cost = cost
        draft.sender_id = shared[wire.sender_id]
        draft.status_name = shared[wire.status_name]
        draft.message = wire.message
        draft.comment = wire.comment
        draft.mccmnc = shared[wire.mccmnc]
        draft.country = shared[wire.country]
        draft.operator = shared[wire.operator]
        draft.operator_orig = shared[wire.operator_orig]
        draft.region = shared[wire.region]
        draft.type = wire.type
        draft.sms_cnt = wire.sms_cnt
        draft.id = wire.id
        draft.ref = draft.checked_at = None
        draft.timezone = MOSCOW
        draft.__class__ = StatusRecord
        rows.append(draft)
    return rows


def _look_up(wire: Documented) -> HlrRecord:
    fields = {
        name: SHARED[value] if name in NAMES else value
        for name, value in msgspec.structs.asdict(wire).items()
        if value is not UNSET
    }
    fields["cost"] = COSTS[wire.cost]
    return HlrRecord(**fields)
