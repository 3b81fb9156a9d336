"""Which lines of a bulk reply are whose, where texts may hold newlines, and lines that look like another record.

A line that looks like the beginning of a record starts a *segment*; a message's part of the reply is one segment or
more. It begins with a line that names the message's phone and ends with one that names its id, and the messages stand
in the order in which they were asked; some may be left out. Among all the ways to cut the segments so that none is left
over, those that answer the most messages are taken: what all of these agree on is known, and nothing else is.

The ways are chains of cuts, and a chain's next cut depends on nothing but the one before it; so the longest chains
that lead to a cut and from it are found by two sweeps, in about `n log n` steps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import attrs

from smsc_status.core.codecs.values import BadRow, Row, bad_row
from smsc_status.models import Identity, Key

MAX_CUTS = 20_000
"""Beyond so many possible beginnings within one part of a reply its messages are in doubt."""

MAX_SPAN = 64
"""How many segments one message may have where its phone was asked under several ids."""

END = 1 << 60


@attrs.frozen(slots=True)
class Head:
    """A line that may begin the record of one of these phones; `whole` if it is all of it and names the id too."""

    phones: frozenset[str]
    id: Key | None = None
    whole: bool = False


class Tail(NamedTuple):
    """A line that may end the record of this id, and of this phone if it names one."""

    id: Key
    phone: str | None


@attrs.frozen(slots=True)
class Segment:
    """The lines from one that looks like a beginning up to the next one."""

    text: str
    head: Head
    tails: Sequence[Tail]


class Cut(NamedTuple):
    """A segment as the beginning of a message's part: both by their positions."""

    segment: int
    message: int


Read = Callable[[str, Identity], Row]


def align(
    lines: Sequence[str],
    asked: Sequence[Identity],
    *,
    head: Callable[[str], Head | None],
    tails: Callable[[str], Sequence[Tail]],
    read: Read,
) -> list[Row]:
    """The rows of a bulk reply, in its order; a message whose part is in doubt is a `BadRow` with its `index`."""
    segments = _segments(lines, head, tails)
    reply = _Reply(segments, asked, read)
    if len(segments) == len(asked) and all(place in reply.alone(place) for place in range(len(asked))):
        return [reply.row(place, place, place) for place in range(len(asked))]
    for first, last in reply.blocks():
        reply.read_block(first, last)
    return reply.rows()


def _segments(
    lines: Sequence[str], head: Callable[[str], Head | None], tails: Callable[[str], Sequence[Tail]]
) -> list[Segment]:
    segments: list[Segment] = []
    end, closed = len(lines), True
    for place in range(len(lines) - 1, -1, -1):
        line = lines[place].rstrip("\r")
        found = head(line)
        if found and found.whole and not closed:
            found = None
        if found or not place:
            text = "\n".join(lines[place:end])
            segments.append(Segment(text, found or Head(frozenset()), _tails_of(text, found, tails)))
            end, closed = place, True
        elif line.strip():
            closed = False
    return segments[::-1]


def _tails_of(text: str, head: Head | None, tails: Callable[[str], Sequence[Tail]]) -> Sequence[Tail]:
    if head and head.whole:
        return ()
    text = text.rstrip("\r\n")
    return tails(text[text.rfind("\n") + 1 :])


class _Reply:
    """The segments of a reply, the messages that were asked, and what has been found of them."""

    def __init__(self, segments: Sequence[Segment], asked: Sequence[Identity], read: Read) -> None:
        self._segments = segments
        self._asked = asked
        self._read = read
        self._places = {identity: place for place, identity in enumerate(asked)}
        self._of_id: dict[Key, list[int]] = defaultdict(list)
        self._of_phone: dict[str, list[int]] = defaultdict(list)
        for place, (id, phone) in enumerate(asked):
            self._of_id[id].append(place)
            self._of_phone[phone].append(place)
        self._found: dict[int, tuple[int, int] | None] = {}
        self._order: list[int] = []

    def row(self, first: int, last: int, message: int) -> Row:
        """The row that these segments are."""
        text = "\n".join(segment.text for segment in self._segments[first : last + 1])
        row = self._read(text.rstrip("\r\n"), self._asked[message])
        return BadRow(row.error, row.id, row.phone, message) if isinstance(row, BadRow) else row

    def span(self, first: int, last: int) -> Iterable[int]:
        """The messages that these segments may be the part of, by their first and last line."""
        head = self._segments[first].head
        if head.whole:
            return self._whole(head) if first == last else ()
        found = (
            self._places.get((tail.id, phone))
            for tail in self._segments[last].tails
            for phone in head.phones
            if tail.phone in (None, phone)
        )
        return {place for place in found if place is not None}

    def alone(self, segment: int) -> Iterable[int]:
        """The messages that one segment may be all of the part of."""
        return self.span(segment, segment)

    def _whole(self, head: Head) -> Iterable[int]:
        if head.id is None or not head.phones:
            return self._of_id.get(head.id, ()) if head.id is not None else ()
        return [self._places[head.id, phone] for phone in head.phones if (head.id, phone) in self._places]

    def blocks(self) -> Iterable[tuple[int, int]]:
        """The first and last segments of the parts of the reply that no message can reach across."""
        last_of: dict[Key, int] = {}
        for place, segment in enumerate(self._segments):
            for tail in segment.tails:
                last_of[tail.id] = place
        reach = {
            phone: max(last_of.get(self._asked[place][0], -1) for place in places)
            for phone, places in self._of_phone.items()
        }
        first = 0
        last = -1
        for place, segment in enumerate(self._segments):
            if place > last and place > first:
                yield first, place - 1
                first = place
            phones = () if segment.head.whole else segment.head.phones
            last = max(last, place, *(reach.get(phone, -1) for phone in phones))
        yield first, len(self._segments) - 1

    def read_block(self, first: int, last: int) -> None:
        """Find the messages of a block."""
        if self._read_simple(first, last):
            return
        cuts = [self._cuts(place, last) for place in range(first, last + 1)]
        if sum(map(len, cuts)) > MAX_CUTS:
            levels: list[list[Cut]] = []
        else:
            levels = _Chains(self._segments[first : last + 1], self._asked, cuts, first).levels()
        if not levels:
            for message in sorted({cut.message for some in cuts for cut in some}):
                self._note(message, None)
            return
        for level, following in zip(levels, [*levels[1:], [Cut(last + 1, END)]], strict=True):
            start, message = level[0]
            end = following[0].segment - 1
            if len(level) == len(following) == 1 and not self._may_end_before(start, end, message):
                self._note(message, (start, end))
            else:
                for cut in level:
                    self._note(cut.message, None)

    def _read_simple(self, first: int, last: int) -> bool:
        """Read a block in which each segment is all of one message's part; repeats must be the same."""
        found: dict[int, int] = {}
        for place in range(first, last + 1):
            messages = list(self.alone(place))
            if len(messages) != 1:
                return False
            earlier = found.setdefault(messages[0], place)
            if self._segments[earlier].text != self._segments[place].text:
                return False
        for message, place in found.items():
            self._note(message, (place, place))
        return True

    def _cuts(self, segment: int, last: int) -> list[Cut]:
        head = self._segments[segment].head
        if head.whole:
            return [Cut(segment, message) for message in self._whole(head)]
        messages: set[int] = set()
        for phone in head.phones:
            places = self._of_phone.get(phone, ())
            if len(places) == 1:
                messages.update(places)
        if any(len(self._of_phone.get(phone, ())) > 1 for phone in head.phones):
            for end in range(segment, min(last + 1, segment + MAX_SPAN)):
                messages.update(self.span(segment, end))
        return [Cut(segment, message) for message in sorted(messages)]

    def _may_end_before(self, first: int, last: int, message: int) -> bool:
        """Whether the message may also be over earlier, the rest being rows that nobody asked for."""
        return any(message in self.span(first, end) for end in range(first, last))

    def _note(self, message: int, span: tuple[int, int] | None) -> None:
        """Keep what was found of a message; `None` is a doubt, and so are two different answers."""
        if message not in self._found:
            self._order.append(message)
            self._found[message] = span
        elif span is None or self._text(span) != self._text(self._found[message]):
            self._found[message] = None

    def _text(self, span: tuple[int, int] | None) -> list[str] | None:
        return span and [segment.text for segment in self._segments[span[0] : span[1] + 1]]

    def rows(self) -> list[Row]:
        """What was found, in the reply's order."""
        rows: list[Row] = []
        for message in self._order:
            span = self._found[message]
            if span is None:
                id, phone = self._asked[message]
                rows.append(bad_row("lines that may be another's", {"id": str(id), "phone": phone}, message))
            else:
                rows.append(self.row(*span, message))
        return rows


class _Best:
    """The longest chain for each class of cuts, by the message that it ends with."""

    def __init__(self) -> None:
        self._steps: dict[Hashable, tuple[list[int], list[int]]] = {}

    def add(self, cls: Hashable, message: int, length: int) -> None:
        """Note that a chain of this length ends with this message."""
        messages, lengths = self._steps.setdefault(cls, ([], []))
        place = bisect_left(messages, message)
        if place and lengths[place - 1] >= length:
            return
        end = place
        while end < len(messages) and lengths[end] <= length:
            end += 1
        messages[place:end] = [message]
        lengths[place:end] = [length]

    def before(self, cls: Hashable, message: int) -> int | None:
        """The length of the longest chain that ends before this message."""
        messages, lengths = self._steps.get(cls, ((), ()))
        place = bisect_left(messages, message)
        return lengths[place - 1] if place else None


class _Chains:
    """The longest chains of cuts through a block that leave no segment over."""

    def __init__(
        self, segments: Sequence[Segment], asked: Sequence[Identity], cuts: Sequence[list[Cut]], first: int
    ) -> None:
        self._segments = segments
        self._asked = asked
        self._cuts = cuts
        self._first = first

    def levels(self) -> list[list[Cut]]:
        """The cuts of the longest chains, by their place in the chain; nothing if there is no chain."""
        to, longest = self._lengths_to()
        if longest is None:
            return []
        after = self._lengths_from()
        levels: list[list[Cut]] = [[] for _ in range(longest)]
        for cut, length in to.items():
            if length + after.get(cut, -END) - 1 == longest:
                levels[length - 1].append(cut)
        return levels

    def _lengths_to(self) -> tuple[dict[Cut, int], int | None]:
        best = _Best()
        lengths: dict[Cut, int] = {}
        for place, cuts in enumerate([*self._cuts, [Cut(END, END)]]):
            for cut in cuts:
                length = 0 if not place else _most(best.before(cls, cut.message) for cls in self._closing(place - 1))
                if length is not None:
                    lengths[cut] = length + 1
            for cut in cuts:
                if cut in lengths and cut.message != END:
                    for cls in self._opening(cut):
                        best.add(cls, cut.message, lengths[cut])
        whole = lengths.pop(Cut(END, END), None)
        return lengths, whole and whole - 1

    def _lengths_from(self) -> dict[Cut, int]:
        best = _Best()
        lengths = {Cut(END, END): 0}
        following = [Cut(END, END)]
        for place in range(len(self._cuts) - 1, -1, -1):
            for cut in following:
                if cut in lengths:
                    for cls in self._closing(place):
                        best.add(cls, -cut.message, lengths[cut])
            following = self._cuts[place]
            for cut in following:
                length = _most(best.before(cls, -cut.message) for cls in self._opening(cut))
                if length is not None:
                    lengths[cut] = length + 1
        return lengths

    def _opening(self, cut: Cut) -> tuple[Hashable, ...]:
        """What a part that begins so has to end with."""
        place = cut.segment - self._first
        if self._segments[place].head.whole:
            return (("whole", place),)
        id, phone = self._asked[cut.message]
        return (id, None), (id, phone)

    def _closing(self, place: int) -> Sequence[Hashable]:
        """What a part that ends with this segment ends with."""
        segment = self._segments[place]
        return (("whole", place),) if segment.head.whole else [(tail.id, tail.phone) for tail in segment.tails]


def _most(lengths: Iterable[int | None]) -> int | None:
    return max((length for length in lengths if length is not None), default=None)
