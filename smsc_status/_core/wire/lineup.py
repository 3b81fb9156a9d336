"""Finds which lines of a bulk reply belong to which message.

Texts may hold newlines, so a line inside a text may look like the beginning of another record. Each line that looks
like a beginning starts a *segment*. A message's part of the reply is one segment or more: its first line names the
message's phone and its last line the id. The messages come in the order in which they were asked; some may be missing.

There may be several ways to divide all segments among the messages. Those that answer the most messages count: what all
of them agree on is known, and the rest is in doubt. `segments` finds these ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from smsc_status._core.wire.asked import Asked
from smsc_status._core.wire.portions import Portions, in_one_go, list_in_portions
from smsc_status._core.wire.segments import END, Cut, LongestChains, RecordEnd, RecordStart, Segment
from smsc_status._core.wire.values import Row, bad_row, text_id, with_index
from smsc_status.models import Identity, Key, StatusRecord

MAX_CUTS = 60_000
"""If one block of a reply has more possible beginnings than this, its messages are in doubt."""

MAX_TRIES = 120_000
"""The most pairs of a segment and a message that are tried to find a way that answers all messages."""

MAX_SPAN = 64
"""The most segments of one message whose phone was asked under several ids."""

LINES = 1000
"""How many lines are divided into segments in a portion."""


class LineFormat(NamedTuple):
    """How to tell from a format's lines whose they are, and how to read them."""

    start: Callable[[str], RecordStart | None]
    """Whose record may begin with a line."""
    ends: Callable[[str], Sequence[RecordEnd]]
    """Whose record may end with a line."""
    ordinary: Callable[[str, Identity], StatusRecord | None]
    """The record of a text that is certainly all of this message's part; else `None`."""
    read: Callable[[str, Identity], Row]
    """The row of a text that is this message's part."""


def line_up(lines: Sequence[str], asked: Asked, line_format: LineFormat) -> Portions[list[Row]]:
    """The rows of a bulk reply, in its order. A message whose part is in doubt becomes a `BadRow` with its `index`."""
    count = len(asked.identities)
    if len(lines) == count:
        rows = yield from list_in_portions(_in_order(lines, asked, line_format))
        if len(rows) == count:
            return rows
    segments = yield from _segments(lines, asked, line_format)
    reply = _Reply(segments, asked, line_format)
    if len(segments) == count and all(position in reply.alone(position) for position in range(count)):
        return (yield from list_in_portions(reply.row(position, position, position) for position in range(count)))
    if not reply.read_complete():
        for first, last in reply.blocks():
            reply.read_block(first, last)
    return (yield from list_in_portions(reply.rows()))


def _in_order(lines: Sequence[str], asked: Asked, line_format: LineFormat) -> Iterator[Row]:
    """The rows of the lines up to the first that is not the whole part of the message asked in its position."""
    for position, (line, whose) in enumerate(zip(lines, asked.identities, strict=True)):
        row = line_format.ordinary(line, whose)
        if row is None:
            reply = _Reply(in_one_go(_segments([line], asked, line_format)), asked, line_format)
            if position not in reply.alone(0):
                return
            yield reply.row(0, 0, position)
        else:
            yield row


def _segments(lines: Sequence[str], asked: Asked, line_format: LineFormat) -> Portions[list[Segment]]:
    """Divide the lines into segments, beginning with the last line.

    A line that is a whole record starts a segment only if nothing but empty lines follows it there.
    """
    segments: list[Segment] = []
    following, is_empty_after = len(lines), True
    for position in range(len(lines) - 1, -1, -1):
        if not (len(lines) - position) % LINES:
            yield
        line = lines[position].rstrip("\r")
        found = line_format.start(line)
        if found and found.whole and not is_empty_after:
            found = None
        if found or not position:
            text = "\n".join(lines[position:following])
            ends = [_as_asked(end, asked) for end in _ends_of(text, found, line_format)]
            segments.append(Segment(text, found or RecordStart(frozenset()), ends))
            following, is_empty_after = position, True
        elif line.strip():
            is_empty_after = False
    return segments[::-1]


def _ends_of(text: str, start: RecordStart | None, line_format: LineFormat) -> Sequence[RecordEnd]:
    if start and start.whole:
        return ()
    text = text.rstrip("\r\n")
    return line_format.ends(text[text.rfind("\n") + 1 :])


def _as_asked(end: RecordEnd, asked: Asked) -> RecordEnd:
    """The end with its phone in the notation in which it was asked."""
    position = None if end.phone is None else asked.position(end.id, end.phone)
    return end if position is None else RecordEnd(end.id, asked.identities[position][1])


class _Reply:
    """The segments of a reply, the messages that were asked, and which segments were found to be whose."""

    def __init__(self, segments: Sequence[Segment], asked: Asked, line_format: LineFormat) -> None:
        self._segments = segments
        self._asked = asked
        self._identities = asked.identities
        self._line_format = line_format
        self._found: dict[int, tuple[int, int] | None] = {}
        self._order: list[int] = []
        self._bare: set[Key | None] = set()

    def row(self, first: int, last: int, message: int) -> Row:
        """The row of this message, whose part is these segments."""
        text = "\n".join(segment.text for segment in self._segments[first : last + 1]).rstrip("\r\n")
        whose = self._identities[message]
        return self._line_format.ordinary(text, whose) or with_index(self._line_format.read(text, whose), message)

    def span(self, first: int, last: int) -> Iterable[int]:
        """The messages whose part these segments may be, by their first and last line."""
        start = self._segments[first].start
        if start.whole:
            return self._whole(start) if first == last else ()
        found = set()
        for end in self._segments[last].ends:
            for phone in start.phones:
                position = self._asked.position(end.id, phone)
                if position is not None and end.phone in (None, self._identities[position][1]):
                    found.add(position)
        return found

    def alone(self, segment: int) -> Iterable[int]:
        """The messages whose whole part this one segment may be."""
        return self.span(segment, segment)

    def _whole(self, start: RecordStart) -> Iterable[int]:
        if not start.phones:
            return self._asked.of_id(start.id)
        found = (self._asked.position(start.id, phone) for phone in start.phones)
        return [position for position in found if position is not None]

    def blocks(self) -> Iterable[tuple[int, int]]:
        """Divide the reply into blocks such that no message's part can reach from one into the next.

        Returns:
            The first and last segment of each block.
        """
        last_of: dict[Key, int] = {}
        for position, segment in enumerate(self._segments):
            for end in segment.ends:
                last_of[end.id] = position
        reach: dict[str, int] = {}
        first = 0
        last = -1
        for position, segment in enumerate(self._segments):
            if position > last and position > first:
                yield first, position - 1
                first = position
            last = max(last, position)
            for phone in () if segment.start.whole else segment.start.phones:
                if phone not in reach:
                    ids = (self._identities[message][0] for message in self._asked.of_phone(phone))
                    reach[phone] = max((last_of.get(id, -1) for id in ids), default=-1)
                last = max(last, reach[phone])
        yield first, len(self._segments) - 1

    def read_complete(self) -> bool:
        """Find the messages' parts, if the reply may answer all messages. Returns whether it may.

        If it does, message `n` begins with segment `n` or later, by at most the number of segments minus messages.
        """
        count, late = len(self._identities), len(self._segments) - len(self._identities)
        if late < 0 or (late + 1) * count > MAX_TRIES:
            return False
        cuts = [
            [Cut(position, message) for message in range(max(0, position - late), min(count, position + 1))]
            for position in range(len(self._segments))
        ]
        cuts = [[cut for cut in starts if self._may_begin(cut)] for starts in cuts]
        levels = LongestChains(self._segments, self._identities, cuts, 0).levels()
        if len(levels) < count:
            return False
        self._record_agreed(levels, len(self._segments) - 1)
        return True

    def _may_begin(self, cut: Cut) -> bool:
        start = self._segments[cut.segment].start
        if start.whole and not start.phones:
            return self._identities[cut.message][0] == start.id
        return any(cut.message in self._asked.of_phone(phone) for phone in start.phones)

    def read_block(self, first: int, last: int) -> None:
        """Find the messages' parts in a block."""
        if self._read_simple(first, last):
            return
        if first == last and self._is_bare(first):
            self._bare.add(self._segments[first].start.id)
            return
        cuts: list[list[Cut]] = []
        count = 0
        for position in range(first, last + 1):
            cuts.append(self._cuts(position, last))
            count += len(cuts[-1])
            if count > MAX_CUTS:
                self._record_doubt(cut for starts in cuts for cut in starts)
                return
        levels = LongestChains(self._segments[first : last + 1], self._identities, cuts, first).levels()
        if levels:
            self._record_agreed(levels, last)
        else:
            self._record_doubt(cut for starts in cuts for cut in starts)

    def _record_agreed(self, levels: list[list[Cut]], last: int) -> None:
        """Record what all the longest chains agree on; the rest is in doubt."""
        for level, following in zip(levels, [*levels[1:], [Cut(last + 1, END)]], strict=True):
            start, message = level[0]
            end = following[0].segment - 1
            if len(level) == len(following) == 1 and not self._may_end_before(start, end, message):
                self._record_part(message, (start, end))
            else:
                self._record_doubt(level)

    def _read_simple(self, first: int, last: int) -> bool:
        """Read a block in which each segment is the whole part of one message. Returns whether it is such a block.

        A message may be repeated if the text is the same.
        """
        found: dict[int, int] = {}
        for position in range(first, last + 1):
            messages = list(self.alone(position))
            if len(messages) != 1:
                return False
            earlier = found.setdefault(messages[0], position)
            if self._segments[earlier].text != self._segments[position].text:
                return False
        for message, position in found.items():
            self._record_part(message, (position, position))
        return True

    def _is_bare(self, segment: int) -> bool:
        start = self._segments[segment].start
        return start.whole and not start.phones

    def _cuts(self, segment: int, last: int) -> list[Cut]:
        start = self._segments[segment].start
        if start.whole:
            return [Cut(segment, message) for message in self._whole(start)]
        messages: set[int] = set()
        named = [self._asked.of_phone(phone) for phone in start.phones]
        for positions in named:
            if len(positions) == 1:
                messages.update(positions)
        if any(len(positions) > 1 for positions in named):
            for end in range(segment, min(last + 1, segment + MAX_SPAN)):
                messages.update(self.span(segment, end))
        return [Cut(segment, message) for message in sorted(messages)]

    def _may_end_before(self, first: int, last: int, message: int) -> bool:
        """Whether the message's part may also end before `last`. Then the rest would be rows that nobody asked for."""
        return any(message in self.span(first, end) for end in range(first, last))

    def _record_part(self, message: int, span: tuple[int, int] | None) -> None:
        """Record a message's part. `None` means a doubt, and two different answers are a doubt too."""
        if message not in self._found:
            self._order.append(message)
            self._found[message] = span
        elif span is None or self._text(span) != self._text(self._found[message]):
            self._found[message] = None

    def _record_doubt(self, cuts: Iterable[Cut]) -> None:
        """Record that these messages are in doubt.

        A line with an id and no phone may belong to any of several messages, so only its id is recorded.
        """
        for cut in cuts:
            if self._is_bare(cut.segment):
                self._bare.add(self._segments[cut.segment].start.id)
            else:
                self._record_part(cut.message, None)

    def _text(self, span: tuple[int, int] | None) -> list[str] | None:
        return span and [segment.text for segment in self._segments[span[0] : span[1] + 1]]

    def rows(self) -> Iterator[Row]:
        """The rows of what was found, in the reply's order."""
        for message in self._order:
            span = self._found[message]
            if span is None:
                id, phone = self._identities[message]
                yield bad_row("lines that may be another message's", {"id": text_id(str(id)), "phone": phone}, message)
            else:
                yield self.row(*span, message)
        for bare in self._bare:
            yield bad_row("a line of one of several messages", {"id": text_id(str(bare))})
