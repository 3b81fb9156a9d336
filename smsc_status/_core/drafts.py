"""Records in the making, and how they are completed.

A record is frozen. A draft is the same record before that: its fields are set one by one, and it is then given the
record's class. That makes a record about three times as quickly as its constructor does (`python -m benchmarks.decode`).
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Any

import attrs

from smsc_status.models import MOSCOW, HlrRecord, MessageRef, StatusRecord, is_look_up

_COMMON = tuple(field.name for field in attrs.fields(StatusRecord))

# The slots' own setters, which know no frozen class.
_set_ref, _set_checked_at, _set_timezone = (
    StatusRecord.__dict__[name].__set__ for name in ("ref", "checked_at", "timezone")
)


class Draft(StatusRecord):
    """A message's record in the making: its fields are set one by one, quicker than a constructor does it.

    It is finished by giving it the class `StatusRecord`, which allows no more changes. Until then it is nobody else's,
    and a field that was not set is an `AttributeError`.
    """

    __slots__ = ()

    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__  # the interpreter takes the short way only if both are its own


class HlrDraft(HlrRecord):
    """A look-up's record in the making, likewise."""

    __slots__ = ()

    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__


def bind(record: StatusRecord, ref: MessageRef, checked_at: datetime, zone: tzinfo) -> StatusRecord:
    """Complete a record that a codec has just made and nobody else has seen yet, in place; the same record."""
    _set_ref(record, ref)
    _set_checked_at(record, checked_at)
    if record.timezone is not zone:
        _set_timezone(record, zone)
    return record


def new_draft() -> Draft:
    """A message's record in the making, of which nothing was sent yet."""
    draft = object.__new__(Draft)
    _clear(draft)
    return draft


def new_hlr_draft() -> HlrDraft:
    """A look-up's record in the making, likewise."""
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
    """The record that a draft has become: a look-up also where only its type or its flag says so."""
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
    """The look-up that a message's draft turns out to be."""
    look_up: Any = new_hlr_draft()
    for name in _COMMON:
        setattr(look_up, name, getattr(draft, name))
    look_up.__class__ = HlrRecord
    record: HlrRecord = look_up
    return record
