"""Records that are still being filled in, and how they are completed.

A record is frozen. A draft has the same fields, which are set one by one; then it is given the record's class. That
makes a record about three times as fast as its constructor does (`python -m benchmarks.decode`).
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Any

import attrs

from smsc_status.models import MOSCOW, HlrRecord, MessageRef, StatusRecord, is_look_up

_COMMON = tuple(field.name for field in attrs.fields(StatusRecord))

# These set an attribute directly. The frozen class's own `__setattr__` would refuse.
_set_ref, _set_checked_at, _set_timezone = (
    StatusRecord.__dict__[name].__set__ for name in ("ref", "checked_at", "timezone")
)


class Draft(StatusRecord):
    """A message's record that is still being filled in.

    Its fields are set one by one, which is faster than calling a constructor. Giving it the class `StatusRecord`
    completes it and forbids further changes. Until then only its maker may hold it, and reading a field that was not
    set raises `AttributeError`.
    """

    __slots__ = ()

    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__  # the interpreter's fast path needs both methods to be `object`'s


class HlrDraft(HlrRecord):
    """A look-up's record that is still being filled in, as in `Draft`."""

    __slots__ = ()

    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__


def bind(record: StatusRecord, ref: MessageRef, checked_at: datetime, zone: tzinfo) -> StatusRecord:
    """Complete, in place, a record that a codec has just made and nobody else has seen. Returns the same record."""
    _set_ref(record, ref)
    _set_checked_at(record, checked_at)
    if record.timezone is not zone:
        _set_timezone(record, zone)
    return record


def new_draft() -> Draft:
    """A draft of a message's record in which no field is filled in yet."""
    draft = object.__new__(Draft)
    _clear(draft)
    return draft


def new_hlr_draft() -> HlrDraft:
    """A draft of a look-up's record in which no field is filled in yet."""
    draft: Any = object.__new__(HlrDraft)
    _clear(draft)
    draft.imsi = draft.msc = draft.mcc = draft.mnc = draft.cn = draft.net = draft.rcn = draft.rnet = None
    look_up: HlrDraft = draft
    return look_up


def _clear(draft: Any) -> None:
    draft.status = draft.last_date = draft.last_timestamp = draft.flag = draft.err = None
    draft.send_date = draft.send_timestamp = draft.phone = draft.cost = draft.sender_id = draft.status_name = None
    draft.message = draft.comment = draft.type = draft.sms_cnt = draft.id = None
    draft.mccmnc = draft.country = draft.operator = draft.operator_orig = draft.region = None
    draft.ref = draft.checked_at = None
    draft.timezone = MOSCOW
    draft.unclear = ()


def finished(draft: Any) -> StatusRecord:
    """Complete a draft and return it. It becomes a look-up also if only its type or its flag says so."""
    kind = type(draft)
    if kind is HlrDraft:
        draft.__class__ = HlrRecord
    elif is_look_up(draft.type, draft.flag):
        return as_look_up(draft)
    else:
        draft.__class__ = StatusRecord
    record: StatusRecord = draft
    return record


def as_look_up(draft: Any) -> HlrRecord:
    """The look-up's record for a draft that was begun as a message's."""
    look_up: Any = new_hlr_draft()
    for name in _COMMON:
        setattr(look_up, name, getattr(draft, name))
    look_up.__class__ = HlrRecord
    record: HlrRecord = look_up
    return record
