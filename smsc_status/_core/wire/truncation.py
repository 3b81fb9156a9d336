"""Drops the last line of a bulk reply in `fmt=0` or `fmt=1` if it may have been cut.

Nothing marks the end of such a reply. A line names its message at its end, so a line that was cut in the middle of an
id or a phone may seem to be another message's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from smsc_status._core.wire.asked import Asked, are_alike, national
from smsc_status._core.wire.values import Row, bad_row, key_of
from smsc_status.models import Detail, Identity, Key, phone_key


def without_cut_end(rows: list[Row], asked: Sequence[Identity], detail: Detail) -> list[Row]:
    """The rows. If the last may be a part of a line about another message, it becomes a `BadRow` of no message."""
    if rows and _may_be_cut(rows, asked, detail):
        return [*rows[:-1], bad_row("a line that may be cut", {})]
    return rows


def _may_be_cut(rows: Sequence[Row], asked: Sequence[Identity], detail: Detail) -> bool:
    *others, last = rows
    key, phone = _name(last)
    if key is None:
        return any(row.id is not None for row in others)
    if phone is not None and detail is Detail.BASIC:  # the phone is the last column
        candidates = {who for who in asked if who[0] == key and _is_part_of_phone(phone, who[1])}
    else:
        candidates = {who for who in asked if _may_be(phone, who[1]) and _is_cut_from(str(key), str(who[0]))}
    return bool(candidates) and not candidates <= set(_named(others, asked))


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


def _is_part_of_phone(phone: str, asked: str) -> bool:
    """Whether the phone is the beginning of the one that was asked, in a notation that the vendor may answer with."""
    return any(_is_cut_from(phone, prefix + national(asked)) for prefix in ("", "7", "8")) or _is_cut_from(phone, asked)


def _is_cut_from(short: str, whole: str) -> bool:
    return len(whole) > len(short) and whole.startswith(short)
