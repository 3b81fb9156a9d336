"""Makes rows of separate values, several times as fast as from a mapping.

Messages differ in their ids, phones and dates, and have few different values otherwise. So the further values of a row
are read once for all rows that have the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from smsc_status.codes import Channel
from smsc_status.errors import ConfigError
from smsc_status.report._rows import NEWEST, OLDEST, Row, row_of

MOST_KNOWN = 20_000
"""At most this many different further values are remembered."""

OWN = ("id", "phone", "sent_at", "changed_at")
"""The fields that each row has for itself."""


class RowMaker:
    """Makes rows.

    Args:
        names: the names of the further values, in order.
        prepare: makes of a row's further values by name those of `Row`'s fields.
    """

    def __init__(self, names: Sequence[str], prepare: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self._names = names
        self._prepare = prepare
        self._known: dict[tuple[Any, ...], Row] = {}

    def make(
        self, id: Any, phone: Any, sent_at: datetime | None, changed_at: datetime | None, further: tuple[Any, ...]
    ) -> Row:
        """A row of these values. `None` and an empty text mean that there is no value.

        Raises:
            ConfigError: a value can't be one of a row. The text names the value.
        """
        like = self._known.get(further)
        if like is None:
            like = self._remember(further)
        if id is not None and not isinstance(id, int | str):
            raise ConfigError(f"id {str(id)[:60]!r}: expected a number or a text")
        if phone is not None and not isinstance(phone, str):
            raise ConfigError(f"phone {str(phone)[:60]!r}: expected a text")
        for at in (sent_at, changed_at):
            if at is not None and (at.tzinfo is None or not OLDEST <= at.year <= NEWEST):
                expected = f"expected one with a zone, of the years {OLDEST} to {NEWEST}"
                raise ConfigError(f"date '{at.isoformat()}': {expected}")
        return Row(
            id=id,
            phone=phone,
            sent_at=sent_at,
            changed_at=changed_at,
            status=like.status,
            err=like.err,
            channel=like.channel,
            flag=like.flag,
            type=like.type,
            cost=like.cost,
            sender_id=like.sender_id,
            operator=like.operator,
            reachable=like.reachable,
            error=like.error,
        )

    def _remember(self, further: tuple[Any, ...]) -> Row:
        given = {name: value for name, value in zip(self._names, further, strict=True) if value not in (None, "")}
        like = row_of(self._prepare(given))
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[further] = like
        return like


def instant(text: str, name: str) -> datetime | None:
    """The date of a text in ISO 8601; `None` for an empty one.

    Raises:
        ConfigError: it is no such date. The text names it and the column.
    """
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{name} {text[:60]!r}: expected a date and time in ISO 8601") from None


def with_channel_of_phone(row: Row) -> Row:
    """The row; an e-mail, if nothing else tells its channel and it went to an e-mail address."""
    if row.channel is Channel.UNKNOWN and row.type is None and row.flag is None and row.is_email:
        return attrs.evolve(row, channel=Channel.EMAIL)
    return row
