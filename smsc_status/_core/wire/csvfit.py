"""Which cells of a comma-separated line are which column's, where nothing is quoted.

A layout is cut into runs. A column of a *fixed* run has one cell. Those of a *loose* run, texts and names, may hold
commas, so that they have one cell or more. The first and the last run stand at the line's ends; one between two loose
runs is found by what its columns look like. A line may fit in several ways: what all of them agree on is known, and the
other columns are unclear.
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
"""So many may stand in the names between two fixed runs; in a text any number."""

MAX_READINGS = 8
"""A line that fits in more ways is unclear wherever they may differ."""

_INT = re.compile(r"(?:-?\d{1,18})?", re.ASCII)
_DIGITS = re.compile(r"\d{0,18}", re.ASCII)
_SECONDS = re.compile(r"(?:0|\d{10,12})?", re.ASCII)  # fewer digits are those of a line that was cut
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


class Reading(NamedTuple):
    """What the cells say: the columns' texts, `None` for one that can't be told, and which of them are unclear."""

    wire: dict[str, str | None]
    unclear: frozenset[str]
    is_whole: bool
    """Whether each fixed column is there and looks like itself."""


class Shape(NamedTuple):
    """A layout in runs: the first, then pairs of a loose run and the fixed one after it."""

    first: Columns
    pairs: tuple[tuple[Columns, Columns], ...]
    cells: int


@functools.cache
def shape_of(columns: Columns) -> Shape:
    """The runs of a layout."""
    runs: list[list[str]] = [[]]
    for name in columns:
        if (name in LOOSE) == len(runs) % 2:  # every other run is loose
            runs.append([])
        runs[-1].append(name)
    if len(runs) % 2 == 0:
        runs.append([])
    first, *rest = map(tuple, runs)
    return Shape(first, tuple(zip(rest[::2], rest[1::2], strict=True)), len(columns))


def fit(cells: Sequence[str], columns: Columns, phone: str | None) -> Reading | None:
    """Read a line in this layout; `None` if it has another.

    Args:
        cells: what stands between the commas.
        columns: the layout. One with a phone is told by it, any other by its number of cells and the first time.
        phone: whose line it is; `None` if that is known by other means.
    """
    shape = shape_of(columns)
    begun = _first(cells, shape.first, phone)
    if begun is None or (len(cells) < shape.cells and "phone" not in shape.first):
        return None
    wire, unclear = begun
    if not shape.pairs:
        return Reading(wire, frozenset(unclear), not unclear) if len(cells) == shape.cells else None
    if len(cells) < shape.cells:
        whose = tuple(name for name in shape.pairs[-1][1] if name != "type")
        ending, _ = _fixed(cells, len(cells) - len(whose), whose)
        missing = set(columns) - set(columns[: columns.index("phone") + 1]) - set(whose)
        return Reading(wire | dict.fromkeys(missing) | ending, frozenset(missing | unclear), is_whole=False)
    return _rest(cells, shape, phone, wire, unclear)


def _first(cells: Sequence[str], columns: Columns, phone: str | None) -> tuple[dict[str, str | None], set[str]] | None:
    """The columns of the first run, and those of them that are not what they should be."""
    wire, unclear = _fixed(cells, 0, columns)
    if "status" in unclear or ("phone" not in columns and "last_timestamp" in unclear):
        return None
    if phone is not None and "phone" in columns and not is_phone(wire["phone"], phone):
        return None
    return wire, unclear


def _rest(
    cells: Sequence[str], shape: Shape, phone: str | None, wire: dict[str, str | None], unclear: set[str]
) -> Reading | None:
    last = shape.pairs[-1][1]
    ends = len(cells) - len(last)
    ending, wrong = _fixed(cells, ends, last)
    levels = _starts(cells, shape, ends, phone)
    known = max(position for position, found in enumerate(levels) if len(found) <= MAX_READINGS)
    if not levels[known]:
        return None
    pairs = [*shape.pairs[:known]]
    lost = {name for loose, fixed in shape.pairs[known:] for name in (*loose, *fixed)} - set(last)
    if known == len(shape.pairs) - 1 and not wrong:
        pairs, lost = [*pairs, (shape.pairs[-1][0], ())], set()
    middle, doubts = _merged([_inner(cells, shape, pairs, (*starts, ends)) for starts in levels[known]], wire["status"])
    if not unclear.isdisjoint(HLR_KEYS):  # these columns have another order
        lost |= set(HLR_KEYS)
    unclear = unclear | doubts | lost | wrong
    return Reading(wire | middle | ending | dict.fromkeys(lost), frozenset(unclear), not (wrong or lost))


def _starts(cells: Sequence[str], shape: Shape, ends: int, phone: str | None) -> list[list[tuple[int, ...]]]:
    """Where the first so many of the fixed runs between others may begin, in each way to read the line. None at all is
    the last entry if no cell can be the phone; a cost that is not found only ends the list.
    """
    levels: list[list[tuple[int, ...]]] = [[()]]
    for position, (loose, fixed) in enumerate(shape.pairs[:-1]):
        room = sum(len(a) + len(b) for a, b in shape.pairs[position + 1 : -1]) + len(shape.pairs[-1][0]) + len(fixed)
        found: list[tuple[int, ...]] = []
        for starts in levels[-1][: MAX_READINGS + 1]:
            low = (starts[-1] + len(shape.pairs[position - 1][1]) if starts else len(shape.first)) + len(loose)
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
    """Where the cost may stand. The server prints it with decimals: if the first position has them, or can't be a cost at
    all, they are looked for first.
    """
    costs = {position: cells[position].strip() for position in positions if _COST.fullmatch(cells[position].strip())}
    exact = [position for position, cost in costs.items() if _EXACT_COST.fullmatch(cost)]
    printed = [position for position, cost in costs.items() if cost]
    if positions and positions[0] in costs and positions[0] not in exact:
        return sorted({positions[0], *printed})
    return exact or printed or list(costs)


def _inner(
    cells: Sequence[str], shape: Shape, pairs: Sequence[tuple[Columns, Columns]], starts: Sequence[int]
) -> tuple[dict[str, str | None], set[str]]:
    """The columns of these runs, the first of which follows the line's first run, in one of the ways to read them."""
    wire: dict[str, str | None] = {}
    unclear: set[str] = set()
    begin = len(shape.first)
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
    """One cell a column; what does not look like its column is `None`, and unclear."""
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
    """Names, one a cell. If there are more cells, a space after a comma that is no column's shows where a name goes on,
    which is likely, but not sure.
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
    """The text, and its comment, which is most likely the last cell; for sure if it is empty, or if the text has one.

    The space after a comma is no part of them where the column beside shows that there is one.
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
    readings: Sequence[tuple[dict[str, str | None], Collection[str]]], status: str | None
) -> tuple[dict[str, str | None], set[str]]:
    """What these readings have in common. Where they differ, the only one whose status has its own name is likely."""
    first, unclear = readings[0][0], set().union(*(doubts for _, doubts in readings))
    if len(readings) == 1:
        return first, unclear
    title = codes.status_title(int(status or 0))
    likely = [wire for wire, _ in readings if title and wire.get("status_name") == title.ru]
    merged: dict[str, str | None] = dict(likely[0]) if len(likely) == 1 else {}
    for name, value in first.items():
        if name != "phone" and any(wire[name] != value for wire, _ in readings):  # it is the same in any notation
            unclear.add(name)
            merged.setdefault(name, None)
        else:
            merged[name] = value
    return merged, unclear


def is_phone(cell: str | None, phone: str | None) -> bool:
    """Whether the cell is this phone, in whichever notation."""
    return cell is not None and phone is not None and are_alike(phone_key(cell), phone)


def has_network(wire: Mapping[str, str | None], unclear: Collection[str]) -> bool:
    """Whether a look-up says anything of the number's network; an absent number is printed as 0."""
    return any(wire.get(name) not in (None, "0") or name in unclear for name in HLR_KEYS)
