"""A bulk reply in `fmt=0` or `fmt=1`: nothing marks its end, so that its last line may be the beginning of another.

Whose a line is stands at its end. Cut in the middle of an id or a phone, it may look like another message's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from smsc_status._core.wire.asked import Asked, are_alike, national
from smsc_status._core.wire.values import Row, bad_row, key_of
from smsc_status.models import Detail, Identity, Key, phone_key


def without_cut_end(rows: list[Row], asked: Sequence[Identity], detail: Detail) -> list[Row]:
    """The rows, the last of which is nobody's if it may be the beginning of a line about another message."""
    if rows and _may_be_cut(rows, asked, detail):
        return [*rows[:-1], bad_row("a line that may be cut", {})]
    return rows


def _may_be_cut(rows: Sequence[Row], asked: Sequence[Identity], detail: Detail) -> bool:
    *others, last = rows
    key, phone = _name(last)
    if key is None:
        return any(row.id is not None for row in others)
    if phone is not None and detail is Detail.BASIC:  # the phone is last
        longer = {who for who in asked if who[0] == key and _phone_goes_on(phone, who[1])}
    else:
        longer = {who for who in asked if _may_be(phone, who[1]) and _goes_on(str(key), str(who[0]))}
    return bool(longer) and not longer <= set(_named(others, asked))


def _named(rows: Sequence[Row], asked: Sequence[Identity]) -> Iterator[Identity]:
    """The messages that these rows name, as they were asked."""
    who = Asked(asked)
    for row in rows:
        key, phone = _name(row)
        position = None if phone is None else who.position(key, phone)
        if position is not None:
            yield asked[position]


def _name(row: Row) -> tuple[Key | None, str | None]:
    return None if row.id is None else key_of(str(row.id)), None if row.phone is None else phone_key(row.phone)


def _may_be(phone: str | None, asked: str) -> bool:
    return phone is None or are_alike(phone, asked)


def _phone_goes_on(phone: str, asked: str) -> bool:
    """Whether the phone is the beginning of the one that was asked, in a notation in which it may be echoed."""
    return any(_goes_on(phone, prefix + national(asked)) for prefix in ("", "7", "8")) or _goes_on(phone, asked)


def _goes_on(short: str, whole: str) -> bool:
    return len(whole) > len(short) and whole.startswith(short)
