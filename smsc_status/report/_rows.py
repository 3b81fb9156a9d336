"""One outcome, as far as a report needs it, and how it is made of plain values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Context, Decimal, Inexact
from typing import Annotated, Any

import attrs
import msgspec

from smsc_status.codes import Channel
from smsc_status.errors import ConfigError
from smsc_status.models import id_key, is_look_up, phone_key

OLDEST, NEWEST = 2000, 2199
"""The date of a year outside of these is a misread number."""

MOST_DIGITS = 20
"""A cost has at most this many digits. With longer ones, an exact sum could become arbitrarily long."""

_SHORT = Context(prec=MOST_DIGITS, traps=[Inexact])
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]

_PLACE = re.compile(r" - at `\$\.(\w+)`")
_LONGEST_SHOWN = 60

_CLEARER = {
    "Invalid decimal string": "expected a number with a decimal point, such as 2.50",
    "Invalid RFC3339 encoded datetime": "expected a date and time in ISO 8601",
}
"""What a decoder says of a value, as a person would."""


@attrs.frozen(slots=True, kw_only=True)
class Row:
    """What became of one message, in the words of `StatusRecord.to_dict` and `FailedCheck.to_dict`.

    `status` is `None` if there is no record. `error` is the name of the error that ended the checks.
    """

    id: int | str | None = None
    phone: str | None = None
    status: int | None = None
    err: int | None = None
    channel: Channel = Channel.UNKNOWN
    changed_at: _Instant | None = None
    sent_at: _Instant | None = None
    flag: int | None = None
    type: int | None = None
    cost: Decimal | None = None
    sender_id: str | None = None
    operator: str | None = None
    reachable: bool | None = None
    error: str | None = None

    @property
    def identity(self) -> bytes | None:
        """The id and phone, so that two rows of one message have the same; `None` where they could not be read."""
        if self.id is None or self.phone is None:
            return None
        return f"{id_key(self.id)}\0{phone_key(self.phone)}".encode("utf-8", "surrogatepass")

    @property
    def is_email(self) -> bool:
        """Whether its errors are those of e-mails. All other channels share one table of errors."""
        return self.channel is Channel.EMAIL or (self.phone is not None and "@" in self.phone)

    @property
    def is_look_up(self) -> bool:
        """Whether it is a number look-up and no message."""
        return self.channel is Channel.HLR or self.reachable is not None or is_look_up(self.type, self.flag)

    @property
    def is_reachable(self) -> bool | None:
        """Whether a look-up found its number reachable; `None` while that is not known."""
        if self.reachable is not None or self.status is None:
            return self.reachable
        if self.status in (1, 2):
            return None if self.err is None else self.err == 0
        return False if self.status >= 3 else None


def checked(row: Row) -> Row:
    """The row itself.

    Raises:
        ConfigError: a value of it can't be.
    """
    for at in (row.sent_at, row.changed_at):
        if at is not None and not OLDEST <= at.year <= NEWEST:
            raise ConfigError(f"date '{at.isoformat()}': expected one of the years {OLDEST} to {NEWEST}")
    if row.cost is not None:
        _check_cost(row.cost)
    return row


def _check_cost(cost: Decimal) -> None:
    try:
        is_right = cost.is_finite() and abs(cost.adjusted()) <= MOST_DIGITS and _SHORT.plus(cost) == cost
    except Inexact:
        is_right = False
    if not is_right:
        raise ConfigError(f"cost {str(cost)[:_LONGEST_SHOWN]!r}: expected a number of at most {MOST_DIGITS} digits")


def row_of(values: Mapping[str, Any]) -> Row:
    """A row of plain values. Texts are read as the numbers, dates and truths that they mean; other names are ignored.

    Raises:
        ConfigError: as from `checked`, or a value has the wrong type. The text names the value.
    """
    try:
        return checked(msgspec.convert(values, Row, strict=False))
    except msgspec.ValidationError as error:
        raise ConfigError(why(error, values)) from None


def why(error: msgspec.ValidationError, values: object) -> str:
    """What is wrong with these values, by the decoder's error."""
    text = str(error).replace("`", "")
    place = _PLACE.search(str(error))
    if place is None or not isinstance(values, Mapping):
        return text
    said = text.partition(" - at ")[0]
    expected = _CLEARER.get(said, said)
    return f"{place[1]} {str(values[place[1]])[:_LONGEST_SHOWN]!r}: {expected[:1].lower()}{expected[1:]}"
