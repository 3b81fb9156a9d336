"""The values that go in and come out: a sent message, what is known about it, and how to ask."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import IntEnum
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, Self

import attrs

from smsc_status import _notation, _plain, codes
from smsc_status.codes import Channel, Title
from smsc_status.errors import ConfigError, SmscError

if TYPE_CHECKING:  # type checkers know this module without its being installed
    from typing_extensions import TypeVar

    DataT = TypeVar("DataT", default=None)
    DataT_co = TypeVar("DataT_co", default=None, covariant=True)
else:  # only type checkers need the default
    from typing import TypeVar

    DataT = TypeVar("DataT")
    DataT_co = TypeVar("DataT_co", covariant=True)

MOSCOW = timezone(timedelta(hours=3), "MSK")
"""The time zone of the vendor's dates. It is the same all year."""

Key = int | str
"""An id as the limits count it: a number, or a text without regard to case."""

Identity = tuple[Key, str]
"""Two messages with the same identity are one: the id's `Key`, and the phone's digits or the e-mail address."""

MAX_ID_CHARS = 40
_ID = re.compile(r"[A-Za-z0-9._-]{1,40}", re.ASCII)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_NOT_DIGITS = re.compile(r"[^0-9]+", re.ASCII)
_LONGEST_SHOWN = 60
_LONGEST_LOOKED_AT = 1000
_WIRE_DATE = "%d.%m.%Y %H:%M:%S"


_UNBOUND: Any = None
"""The `ref` of a record that belongs to no message yet. It is `Any`, so that type checkers take `ref` as always set."""


def is_look_up(type: int | None, flag: int | None) -> bool:
    """Whether a message of this `type` or `flag` is a number look-up: an HLR request (4) or a ping SMS (5)."""
    return (type or 0) & -2 == 4 or (flag or 0) & 0xE == 4


class Detail(IntEnum):
    """How much to ask about a message; the wire's `all`."""

    BASIC = 0
    FULL = 1
    EXTENDED = 2


class Format(IntEnum):
    """The format of the server's answer; the wire's `fmt`."""

    PLAIN = 0
    CSV = 1
    XML = 2
    JSON = 3


def id_key(id: int | str) -> Key:
    """The id as the limits count it: `7`, `"7"` and `"007"` are the same, and so are `"AB"` and `"ab"`."""
    if isinstance(id, int):
        return id
    return int(id) if len(id) <= MAX_ID_CHARS and _DIGITS.fullmatch(id) else id.casefold()


def phone_key(phone: str) -> str:
    """The phone's digits; an e-mail address without spaces around it and without regard to case."""
    if phone.isdecimal() and phone.isascii():
        return phone
    return phone.strip().casefold() if "@" in phone else _NOT_DIGITS.sub("", phone)


def _visible(value: Any) -> Any:
    return _notation.visible(value) if isinstance(value, str) else value


def _check_id(_ref: object, _attribute: object, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ConfigError(f"id {_shown(value)}: expected an int or a str")
    if isinstance(value, int):
        if not 0 <= value < 10**MAX_ID_CHARS:
            shown = value if abs(value) < 10**60 else f"of {value.bit_length()} bits"
            raise ConfigError(f"id {shown}: expected a number of at most {MAX_ID_CHARS} digits, not negative")
        return
    if not (value.isdecimal() and value.isascii()):
        looks_like = _notation.spoilt_id(value[:_LONGEST_SHOWN])
        if looks_like is not None:
            raise ConfigError(f"id {value[:_LONGEST_SHOWN]!r}: looks like {looks_like}; expected the id as it was sent")
    if not _ID.fullmatch(value):
        expected = f"expected 1 to {MAX_ID_CHARS} Latin letters, digits, '.', '-' or '_'"
        raise ConfigError(f"id {value[:_LONGEST_SHOWN]!r}: {expected}")


def _check_phone(_ref: object, _attribute: object, value: Any) -> None:
    if not isinstance(value, str):
        raise ConfigError(f"phone {_shown(value)}: expected a str")
    if len(value) <= _notation.MAX_PHONE_DIGITS and value.isdecimal() and value.isascii():
        return
    if "@" not in value:
        looks_like = _notation.spoilt_phone(value[:_LONGEST_LOOKED_AT])
        if looks_like is not None:
            expected = "expected one number or e-mail address"
            raise ConfigError(f"phone {value[:_LONGEST_SHOWN]!r}: looks like {looks_like}; {expected}")
    if "," in value or not value.isprintable():
        raise ConfigError(f"phone {value[:_LONGEST_SHOWN]!r}: expected one number or e-mail address, without commas")
    if not phone_key(value) or ("@" in value and not _EMAIL.fullmatch(value.strip())):
        raise ConfigError(f"phone {value[:_LONGEST_SHOWN]!r}: expected a number with digits, or an e-mail address")


def _check_sent_at(_ref: object, _attribute: object, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ConfigError(f"sent_at {_shown(value)}: expected a datetime with a time zone, or None")


def _seen(value: Any) -> tuple[int, int | None] | None:
    if value is None:
        return None
    if (
        isinstance(value, tuple)
        and len(value) == 2
        and _is_whole(value[0])
        and (value[1] is None or _is_whole(value[1]))
    ):
        return _shared(value)
    raise ConfigError(f"seen {_shown(value)}: expected (status, err), each a whole number, or err None; or None")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@lru_cache(maxsize=1024)
def _shared(seen: tuple[int, int | None]) -> tuple[int, int | None]:
    """The same tuple for the same values: a million messages have only a few different ones."""
    return seen


@attrs.frozen(eq=False, slots=True)
class MessageRef(Generic[DataT_co]):
    """A sent message, as its sender knows it.

    Two refs are equal if the limits count their ids as one (`7` and `"007"`) and their phones have the same digits.
    `sent_at`, `data` and `seen` are not compared.

    Invisible characters (no-break spaces, direction marks and the like; see `_notation.visible`) are removed from `id`
    and `phone`, and so from the request too. A value that a spreadsheet has spoilt is refused, and so is a phone that
    holds two numbers. An extension (`доб. 12`, `ext. 12`, `#12`) does not count as a second number.

    Most texts are allowed as ids: `v1.0`, `1.0.2`, `a-b.c` and `12E5`. Refused are texts that programs make of numbers
    and that hardly anybody chooses: digits with only zeros after one point (`12345.0`), an exponent after a fraction or
    with a plus (`1.2E+12`, `1.2e12`, `1E+12`), and words for an empty value (`nan`, `None`, `null`, `NaT`).

    >>> MessageRef(7, "79990000000") == MessageRef("007", "+7 (999) 000-00-00")
    True
    >>> MessageRef("no spaces", "79990000000")
    Traceback (most recent call last):
    smsc_status.errors.ConfigError: id 'no spaces': expected 1 to 40 Latin letters, digits, '.', '-' or '_'

    Args:
        id: the sender's id: a number of at most 40 digits, or 1 to 40 of the characters `A-Z a-z 0-9 . _ -`. All
            messages of a mailing have the same id.
        phone: a phone number of at most 15 digits, not counting an extension, or an e-mail address. Any notation
            without commas is allowed and is sent as it is.
        sent_at: when it was sent, if known; an aware datetime.
        data: anything of your own that belongs to the message: a primary key, a row. It comes back in `outcome.ref`,
            and type checkers know its type there. It is never read or sent.
        seen: the status and error code (or `None`) that you know already, such as `(0, None)`. `track` does not give
            them to you again: see `StatusClient.track`.

    Raises:
        ConfigError: a value has another form.
    """

    id: int | str = attrs.field(converter=_visible, validator=_check_id)
    phone: str = attrs.field(converter=_visible, validator=_check_phone)
    sent_at: datetime | None = attrs.field(default=None, validator=_check_sent_at)
    data: DataT_co = attrs.field(default=None)
    seen: tuple[int, int | None] | None = attrs.field(default=None, converter=_seen, kw_only=True)

    @property
    def identity(self) -> Identity:
        """The id and phone as they are compared: messages with the same identity are one."""
        return id_key(self.id), phone_key(self.phone)

    def __eq__(self, other: object) -> bool:
        return self.identity == other.identity if isinstance(other, MessageRef) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        rare = "" if self.data is None else f", data={_shown(self.data)}"
        rare += "" if self.seen is None else f", seen={self.seen!r}"
        return f"MessageRef(id={self.id!r}, phone={self.phone!r}, sent_at={self.sent_at!r}{rare})"

    @classmethod
    def of(cls, value: object) -> MessageRef[Any]:
        """The value itself, if it is a ref, or a ref of an `(id, phone)` or `(id, phone, sent_at)` tuple or list.

        Raises:
            ConfigError: the value is none of these, or an item of it can't be used.
        """
        if isinstance(value, MessageRef):
            return value
        if isinstance(value, tuple | list) and len(value) in (2, 3):
            return cls(*value)
        raise ConfigError(f"message {_shown(value)}: expected a MessageRef, (id, phone) or (id, phone, sent_at)")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@attrs.frozen(slots=True)
class Flags:
    """The bits of `flag`.

    `type` is the message type (bits 0 to 3), `second_balance` is bit 5 and `template` is bit 8. `template_kind` is the
    number in bits 9 and 10 (0 service, 1 transaction, 2 authorisation, 3 advertising); `None` without a template.

    >>> Flags.of(0b101_0010_0111)
    Flags(type=7, second_balance=True, template=True, template_kind=2)
    """

    type: int
    second_balance: bool
    template: bool
    template_kind: int | None

    @classmethod
    def of(cls, flag: int) -> Self:
        """The bits of this number, as the wire has it."""
        template = bool(flag & 0x100)
        return cls(flag & 0xF, bool(flag & 0x20), template, flag >> 9 & 3 if template else None)


@attrs.frozen(slots=True, kw_only=True)
class StatusRecord(Generic[DataT_co]):
    """What the vendor said about one message at one moment.

    The fields have the wire's names and values, unchanged. A field that was not sent is `None`. Dates as text are in
    the zone `timezone`; timestamps are seconds since 1970 in UTC. The properties give typed values.

    >>> record = StatusRecord(status=20, err=6, last_timestamp=1773175303, flag=0)
    >>> record.status_title.en, record.is_final, record.channel.value, record.changed_at.isoformat()
    ("Can't be delivered", True, 'sms', '2026-03-10T20:41:43+00:00')
    >>> record.error_title.en, record.sent_at
    ('Subscriber offline', None)
    """

    status: int
    last_date: str | None = None
    last_timestamp: int | None = None
    flag: int | None = None
    err: int | None = None
    send_date: str | None = None
    send_timestamp: int | None = None
    phone: str | None = None
    cost: Decimal | None = None
    sender_id: str | None = None
    status_name: str | None = None
    message: str | None = None
    comment: str | None = None
    type: int | None = None
    sms_cnt: int | None = None
    mccmnc: str | None = None
    country: str | None = None
    operator: str | None = None
    operator_orig: str | None = None
    region: str | None = None
    id: int | str | None = None
    ref: MessageRef[DataT_co] = attrs.field(default=_UNBOUND)
    """The caller's own object."""
    checked_at: datetime = attrs.field(default=None)
    """When the answer came in; an aware datetime."""
    timezone: Any = attrs.field(default=MOSCOW, repr=False)
    """The `tzinfo` of `last_date` and `send_date`, used where there is no timestamp."""
    unclear: tuple[str, ...] = ()
    """The fields that could not be read with certainty. Each is `None` or has its most likely value."""

    @property
    def changed_at(self) -> datetime | None:
        """When the status last changed; an aware datetime. `None` if the vendor did not say."""
        return _instant(self.last_timestamp, self.last_date, self.timezone)

    @property
    def sent_at(self) -> datetime | None:
        """When the message was sent, by the vendor's clock; an aware datetime. `None` below `Detail.FULL`."""
        return _instant(self.send_timestamp, self.send_date, self.timezone)

    @property
    def is_final(self) -> bool:
        """Whether the status will no longer change by itself. An unknown code is not final."""
        return codes.is_final(self.status)

    @property
    def is_delivered(self) -> bool:
        """Whether the message reached its recipient (delivered, read, or its link was followed)."""
        return self.is_final and self.status in codes.DELIVERED

    @property
    def is_found(self) -> bool:
        """Whether the server knows the message. `False` also for a message that it has moved to its archive."""
        return self.status != codes.Status.NOT_FOUND

    @property
    def channel(self) -> Channel:
        """How the message travels, by `type`, else by `flag`, else by an e-mail address; else `Channel.UNKNOWN`."""
        if self.type is not None:
            return codes.channel_of(self.type)
        if self.flag is not None:
            return codes.channel_of(self.flag & 0xF)
        phone = self.phone or (self.ref.phone if self.ref is not None else "")
        return Channel.EMAIL if "@" in phone else Channel.UNKNOWN

    @property
    def flags(self) -> Flags | None:
        """The bits of `flag`; `None` if it was not sent."""
        return None if self.flag is None else Flags.of(self.flag)

    @property
    def status_title(self) -> Title | None:
        """The vendor's name of the status; `None` for an unknown code."""
        return codes.status_title(self.status)

    @property
    def error_title(self) -> Title | None:
        """The vendor's name of `err`; `None` if there is no `err`, or if it or the channel is unknown."""
        return None if self.err is None else codes.error_title(self.channel, self.err)

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON values: the same that the command line writes.

        The fields have the wire's names. Those that were not sent are left out, except `err`. Beside them stand the
        views: `status_title` and `error_title` in English, `is_final`, `is_delivered`, `channel`, `reachable`, and the
        instants `changed_at`, `sent_at` and `checked_at` as ISO texts. `cost` is a text. Of `ref` only `id` and `phone`
        are given.

        >>> record = StatusRecord(status=1, ref=MessageRef(7, "79990000000"), cost=Decimal("2.50"))
        >>> plain = record.to_dict()
        >>> plain["id"], plain["phone"], plain["status_title"], plain["err"], plain["cost"], "region" in plain
        (7, '79990000000', 'Delivered', None, '2.50', False)
        """
        return _plain.of_record(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return _plain.core_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return _plain.json_schema(cls, _plain.HEAD, (*chain.from_iterable(_plain.DETAILS), _plain.DOUBT))


@attrs.frozen(slots=True, kw_only=True)
class HlrRecord(StatusRecord[DataT_co]):
    """What the vendor said about one number look-up: an HLR request or a ping SMS."""

    imsi: str | None = None
    msc: str | None = None
    mcc: str | None = None
    mnc: str | None = None
    cn: str | None = None
    net: str | None = None
    rcn: str | None = None
    rnet: str | None = None

    @property
    def channel(self) -> Channel:
        """`Channel.SMS` for a ping SMS, by `type`, or by `flag` if there is no `type`; else `Channel.HLR`."""
        kind = (self.flag or 0) & 0xF if self.type is None else self.type
        return Channel.SMS if kind == codes.MessageType.PING_SMS else Channel.HLR

    @property
    def is_final(self) -> bool:
        """As for a message, but the statuses 1 and 2 without `err` are not final: the look-up still goes on."""
        return codes.is_final(self.status) and not (self.status in (1, 2) and self.err is None)

    @property
    def is_delivered(self) -> bool:
        """Whether the number was found reachable."""
        return self.reachable is True

    @property
    def reachable(self) -> bool | None:
        """Whether the number can be reached; `None` if that is not known yet."""
        if self.status in (1, 2):
            return None if self.err is None else self.err == 0
        return False if self.status >= 3 else None


def _instant(timestamp: int | None, date: str | None, zone: tzinfo) -> datetime | None:
    """The moment that the wire names; `None` if there is none, which the wire may write as 0."""
    try:
        if timestamp:
            return datetime.fromtimestamp(timestamp, UTC)
        if date and timestamp is None:
            return datetime.strptime(date, _WIRE_DATE).replace(tzinfo=zone)
    except (ValueError, OverflowError, OSError):
        pass
    return None


@attrs.frozen(slots=True)
class FailedCheck(Generic[DataT_co]):
    """The outcome of a message that could not be checked.

    `ref` is the caller's own object. If that could not be read as a message (then `error` is a `ConfigError`), it is
    whatever was given, although type checkers are told that it is a `MessageRef`.
    """

    ref: MessageRef[DataT_co]
    error: SmscError

    def to_dict(self) -> dict[str, Any]:
        """The failure as plain JSON values: the same that the command line writes.

        `id` and `phone` are the message's, `None` where it could not be read, `error` is the name of the error's class,
        and `text` is what it says.

        >>> FailedCheck(MessageRef(7, "79990000000"), SmscError("no answer")).to_dict()
        {'id': 7, 'phone': '79990000000', 'error': 'SmscError', 'text': 'no answer'}
        """
        return _plain.of_failure(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return _plain.core_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return _plain.json_schema(cls, ("id", "phone", *_plain.FAILURE))


def _bounded(low: float, *, whole: bool, above: bool = False) -> Any:
    def check(_limits: object, attribute: attrs.Attribute[Any], value: object) -> None:
        kind = int if whole else (int, float)
        is_right = isinstance(value, kind) and not isinstance(value, bool) and low <= value < float("inf")
        if not is_right or (above and value == low):
            what = "a whole number" if whole else "seconds"
            least = "more than" if above else "at least"
            raise ConfigError(f"{attribute.name} {value!r}: expected {what}, {least} {low:g}")

    return check


@attrs.frozen(slots=True, kw_only=True)
class Limits:
    """What the vendor allows, and how much safety is added. Times are in seconds.

    In any window of `period`, as the server sees it, at most `checks_per_id` requests name an id, and at most
    `bulk_requests` are bulk requests. At any instant at most `connections` requests are open. `margin` is added to the
    period, because clocks drift and the server may count whole seconds. An abandoned request may still arrive within
    `linger`. `max_bulk` is the largest number of messages in a bulk request. `singles_per_minute` is a limit of your
    own on all requests but bulk requests, in any window of a period and a margin; `None` means no limit.

    Raises:
        ConfigError: a value has the wrong type, is negative, or is zero where that makes no sense.
    """

    checks_per_id: int = attrs.field(default=5, validator=_bounded(1, whole=True))
    bulk_requests: int = attrs.field(default=1, validator=_bounded(1, whole=True))
    period: float = attrs.field(default=60.0, validator=_bounded(0, whole=False, above=True))
    connections: int = attrs.field(default=4, validator=_bounded(1, whole=True))
    margin: float = attrs.field(default=1.0, validator=_bounded(0, whole=False))
    linger: float = attrs.field(default=10.0, validator=_bounded(0, whole=False))
    max_bulk: int = attrs.field(default=1000, validator=_bounded(1, whole=True))
    singles_per_minute: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_bounded(1, whole=True))
    )
