"""Finds which cells of a comma-separated line belong to which column, where nothing is quoted.

A layout is cut into runs of columns, fixed and loose in turn. A column of a *fixed* run has exactly one cell. A column
of a *loose* run, a text or a name, may hold commas, so it has one cell or more. The first and the last fixed run are at
the line's ends; a fixed run between two loose ones is found by what its columns look like. A line may fit in several
ways: a column on which all of them agree is known, and the others are unclear.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from smsc_status import codes
from smsc_status._core.wire.asked import are_alike
from smsc_status._core.wire.layouts import HLR_KEYS, Columns
from smsc_status._core.wire.values import TEXTS
from smsc_status.models import phone_key

LOOSE = TEXTS | {"cn", "net", "rcn", "rnet", "country", "operator", "region"}
"""The columns that may hold commas."""

MAX_COMMAS = 16
"""The most commas inside the names between two fixed runs. In a text there may be any number."""

MAX_WAYS = 8
"""If a line fits in more ways than this, every column on which they may differ is unclear."""

_INT = re.compile(r"(?:-?\d{1,18})?", re.ASCII)
_DIGITS = re.compile(r"\d{0,18}", re.ASCII)
_SECONDS = re.compile(r"(?:0|\d{10,12})?", re.ASCII)  # with fewer digits the line was cut
_COST = re.compile(r"(?:-?\d{1,12}(?:\.\d{1,6})?)?", re.ASCII)
_EXACT_COST = re.compile(r"-?\d{1,12}\.\d{1,6}", re.ASCII)
_PATTERNS = {
    "status": re.compile(r"-?\d{1,9}", re.ASCII),
    "last_timestamp": _SECONDS,
    "send_timestamp": _SECONDS,
    "err": _INT,
    "type": re.compile(r"\d{0,12}", re.ASCII),
    "cost": _COST,
    "imsi": _DIGITS,
    "msc": _DIGITS,
    "mcc": _DIGITS,
    "mnc": _DIGITS,
}


class FittedLine(NamedTuple):
    """The texts of a line's columns, `None` for one that can't be told, and the names of the unclear ones."""

    wire: dict[str, str | None]
    unclear: frozenset[str]
    is_whole: bool
    """Whether each fixed column is there and has a text of its form."""


class LayoutRuns(NamedTuple):
    """A layout in runs: the first fixed run, then pairs of a loose run and the fixed run after it."""

    first: Columns
    pairs: tuple[tuple[Columns, Columns], ...]
    cells: int


@functools.cache
def runs_of(columns: Columns) -> LayoutRuns:
    """The runs of a layout."""
    parts: list[list[str]] = [[]]
    for name in columns:
        if (name in LOOSE) == len(parts) % 2:  # every other run is loose
            parts.append([])
        parts[-1].append(name)
    if len(parts) % 2 == 0:
        parts.append([])
    first, *rest = map(tuple, parts)
    return LayoutRuns(first, tuple(zip(rest[::2], rest[1::2], strict=True)), len(columns))


def fit_layout(cells: Sequence[str], columns: Columns, phone: str | None) -> FittedLine | None:
    """Read a line in this layout; `None` if it has another.

    If the layout has a phone, the line fits if the right phone is there. If the layout has none, the line fits if the
    number of cells and the first time are right.

    Args:
        cells: the line, split at its commas.
        columns: the layout.
        phone: the phone of the line's message; `None` if the message is known by other means.
    """
    runs = runs_of(columns)
    begun = _first(cells, runs.first, phone)
    if begun is None or (len(cells) < runs.cells and "phone" not in runs.first):
        return None
    wire, unclear = begun
    if not runs.pairs:
        return FittedLine(wire, frozenset(unclear), not unclear) if len(cells) == runs.cells else None
    if len(cells) < runs.cells:
        naming = tuple(name for name in runs.pairs[-1][1] if name != "type")
        ending, _ = _fixed(cells, len(cells) - len(naming), naming)
        missing = set(columns) - set(columns[: columns.index("phone") + 1]) - set(naming)
        return FittedLine(wire | dict.fromkeys(missing) | ending, frozenset(missing | unclear), is_whole=False)
    return _rest(cells, runs, phone, wire, unclear)


def _first(cells: Sequence[str], columns: Columns, phone: str | None) -> tuple[dict[str, str | None], set[str]] | None:
    """The columns of the first run, and the names of those that are unclear; `None` if the line has another layout."""
    wire, unclear = _fixed(cells, 0, columns)
    if "status" in unclear or ("phone" not in columns and "last_timestamp" in unclear):
        return None
    if phone is not None and "phone" in columns and not is_phone(wire["phone"], phone):
        return None
    return wire, unclear


def _rest(
    cells: Sequence[str], runs: LayoutRuns, phone: str | None, wire: dict[str, str | None], unclear: set[str]
) -> FittedLine | None:
    """Read the runs after the first one; `None` if they do not fit."""
    last = runs.pairs[-1][1]
    ends = len(cells) - len(last)
    ending, wrong = _fixed(cells, ends, last)
    levels = _starts(cells, runs, ends, phone)
    known = max(position for position, found in enumerate(levels) if len(found) <= MAX_WAYS)
    if not levels[known]:
        return None
    pairs = [*runs.pairs[:known]]
    lost = {name for loose, fixed in runs.pairs[known:] for name in (*loose, *fixed)} - set(last)
    if known == len(runs.pairs) - 1 and not wrong:
        pairs, lost = [*pairs, (runs.pairs[-1][0], ())], set()
    middle, doubts = _merged([_inner(cells, runs, pairs, (*starts, ends)) for starts in levels[known]], wire["status"])
    if not unclear.isdisjoint(HLR_KEYS):  # the look-up's columns are in another order
        lost |= set(HLR_KEYS)
    unclear = unclear | doubts | lost | wrong
    return FittedLine(wire | middle | ending | dict.fromkeys(lost), frozenset(unclear), not (wrong or lost))


def _starts(cells: Sequence[str], runs: LayoutRuns, ends: int, phone: str | None) -> list[list[tuple[int, ...]]]:
    """Where the fixed runs between the first and the last one may begin.

    Entry `n` holds, for each way to read the line, the beginnings of the first `n` of these runs. If a run is not found
    the list ends there; if no cell can be the phone, its last entry is empty, as the line does not fit.
    """
    levels: list[list[tuple[int, ...]]] = [[()]]
    for position, (loose, fixed) in enumerate(runs.pairs[:-1]):
        room = sum(len(a) + len(b) for a, b in runs.pairs[position + 1 : -1]) + len(runs.pairs[-1][0]) + len(fixed)
        found: list[tuple[int, ...]] = []
        for starts in levels[-1][: MAX_WAYS + 1]:
            low = (starts[-1] + len(runs.pairs[position - 1][1]) if starts else len(runs.first)) + len(loose)
            positions = range(low, min(low + MAX_COMMAS, ends - room) + 1)
            found += [(*starts, start) for start in _candidates(cells, fixed, positions, phone)]
        if not found and "phone" not in fixed:
            break
        levels.append(found)
        if not found:
            break
    return levels


def _candidates(cells: Sequence[str], columns: Columns, positions: range, phone: str | None) -> list[int]:
    """Where these columns may begin."""
    if "phone" not in columns:
        return _cost_positions(cells, positions)
    offset = columns.index("phone")
    found = [
        position
        for position in positions
        if is_phone(cells[position + offset], phone) and not is_phone(cells[position], phone)
    ]
    timed = [position for position in found if _SECONDS.fullmatch(cells[position].strip())]
    return [position for position in timed if len(cells[position].strip()) > 1] or timed


def _cost_positions(cells: Sequence[str], positions: range) -> list[int]:
    """The positions at which the cost may be.

    The server prints a cost with decimals, so positions with decimals win, except where the first position may be a
    cost without them: then that position and all others that are not empty are possible.
    """
    costs = {position: cells[position].strip() for position in positions if _COST.fullmatch(cells[position].strip())}
    exact = [position for position, cost in costs.items() if _EXACT_COST.fullmatch(cost)]
    printed = [position for position, cost in costs.items() if cost]
    if positions and positions[0] in costs and positions[0] not in exact:
        return sorted({positions[0], *printed})
    return exact or printed or list(costs)


def _inner(
    cells: Sequence[str], runs: LayoutRuns, pairs: Sequence[tuple[Columns, Columns]], starts: Sequence[int]
) -> tuple[dict[str, str | None], set[str]]:
    """The columns of these runs, which follow the line's first run, in one way to read them, and the unclear ones."""
    wire: dict[str, str | None] = {}
    unclear: set[str] = set()
    begin = len(runs.first)
    for (loose, fixed), start in zip(pairs, starts, strict=False):
        if "message" in loose:
            read, doubts = _text(cells, begin, start, has_comment="comment" in loose)
        else:
            read, doubts = _names(cells[begin:start], loose)
        wire |= read
        unclear |= doubts
        read, doubts = _fixed(cells, start, fixed)
        wire |= read
        unclear |= doubts
        begin = start + len(fixed)
    return wire, unclear


def _fixed(cells: Sequence[str], start: int, columns: Columns) -> tuple[dict[str, str | None], set[str]]:
    """Read one cell for each column. A cell that does not have its column's form is `None`, and unclear."""
    wire: dict[str, str | None] = {}
    unclear = set()
    for name, cell in zip(columns, cells[start : start + len(columns)], strict=False):
        value = cell.strip()
        pattern = _PATTERNS.get(name)
        if pattern is None or pattern.fullmatch(value):
            wire[name] = value or None
        else:
            wire[name] = None
            unclear.add(name)
    return wire, unclear


def _names(cells: Sequence[str], columns: Columns) -> tuple[dict[str, str | None], set[str]]:
    """Read names, one in each cell.

    If there are more cells than names, a cell that begins with a space is taken to continue the name before it. That is
    likely but not certain, so that all the names are unclear.
    """
    if len(cells) == len(columns):
        return {name: cell.strip() or None for name, cell in zip(columns, cells, strict=True)}, set()
    names: list[str] = []
    for cell in cells:
        if names and cell.startswith(" "):
            names[-1] += f",{cell}"
        else:
            names.append(cell)
    if len(names) != len(columns) or names[0].startswith(" "):
        return dict.fromkeys(columns), set(columns)
    return {name: value.strip() or None for name, value in zip(columns, names, strict=True)}, set(columns)


def _text(cells: Sequence[str], begin: int, end: int, *, has_comment: bool) -> tuple[dict[str, str | None], set[str]]:
    """Read the message's text and its comment.

    The comment is most likely the last cell. That is certain if it is empty, or if the text has only one cell. A space
    after a comma is not part of a value if the column beside it begins with one too.
    """
    is_spaced = cells[begin - 1].startswith(" ")
    if not has_comment:
        text = ",".join(cells[begin:end])
        return {"message": text.removeprefix(" ") if is_spaced else text}, set()
    text, comment = ",".join(cells[begin : end - 1]), cells[end - 1]
    wire: dict[str, str | None] = {
        "message": text.removeprefix(" ") if is_spaced else text,
        "comment": comment.removeprefix(" ") if end < len(cells) and cells[end].startswith(" ") else comment,
    }
    return wire, set(wire) if wire["comment"] and end - begin > 2 else set()


def _merged(
    ways: Sequence[tuple[dict[str, str | None], Collection[str]]], status: str | None
) -> tuple[dict[str, str | None], set[str]]:
    """What these ways to read a line have in common, and the columns that are unclear.

    Where the ways differ, the column is `None`; but if the status has its right name in one of them alone, that way is
    likely, and the column has its value.
    """
    first, unclear = ways[0][0], set().union(*(doubts for _, doubts in ways))
    if len(ways) == 1:
        return first, unclear
    title = codes.status_title(int(status or 0))
    likely = [wire for wire, _ in ways if title and wire.get("status_name") == title.ru]
    merged: dict[str, str | None] = dict(likely[0]) if len(likely) == 1 else {}
    for name, value in first.items():
        if name != "phone" and any(wire[name] != value for wire, _ in ways):  # phones differ only in their notation
            unclear.add(name)
            merged.setdefault(name, None)
        else:
            merged[name] = value
    return merged, unclear


def is_phone(cell: str | None, phone: str | None) -> bool:
    """Whether the cell is this phone in any notation."""
    return cell is not None and phone is not None and are_alike(phone_key(cell), phone)


def has_network(wire: Mapping[str, str | None], unclear: Collection[str]) -> bool:
    """Whether a look-up's line says anything about the phone's network. A missing number is printed as 0."""
    return any(wire.get(name) not in (None, "0") or name in unclear for name in HLR_KEYS)
