"""Which lines of a bulk reply are whose, where texts may hold newlines, and lines that look like another record.

A line that looks like the beginning of a record starts a *segment*; a message's part of the reply is one segment or
more. It begins with a line that names the message's phone and ends with one that names its id, and the messages stand
in the order in which they were asked; some may be left out. Among all the ways to cut the segments so that none is left
over, those that answer the most messages are taken: what all of these agree on is known, and nothing else is.

`chains` finds these ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from smsc_status._core.wire.asked import Asked
from smsc_status._core.wire.segments import END, Cut, Head, Segment, SegmentChains, Tail
from smsc_status._core.wire.values import Row, bad_row, text_id, with_index
from smsc_status.models import Identity, Key, StatusRecord

MAX_CUTS = 60_000
"""Beyond so many possible beginnings within one part of a reply its messages are in doubt."""

MAX_TRIES = 120_000
"""How many pairs of a segment and a message are looked at for a way to read a reply that answers all messages."""

MAX_SPAN = 64
"""How many segments one message may have where its phone was asked under several ids."""


class Form(NamedTuple):
    """What a format's lines say of whose they are, and how they are read."""

    head: Callable[[str], Head | None]
    """Whose record may begin with a line."""
    tails: Callable[[str], Sequence[Tail]]
    """Whose record may end with a line."""
    ordinary: Callable[[str, Identity], StatusRecord | None]
    """The record of a line that surely is all of this message's part."""
    read: Callable[[str, Identity], Row]
    """The row of a message's part."""


def align(lines: Sequence[str], asked: Asked, form: Form) -> list[Row]:
    """The rows of a bulk reply, in its order; a message whose part is in doubt is a `BadRow` with its `index`."""
    count = len(asked.identities)
    if len(lines) == count:
        rows = list(_in_order(lines, asked, form))
        if len(rows) == count:
            return rows
    segments = _segments(lines, asked, form)
    reply = _Reply(segments, asked, form)
    if len(segments) == count and all(position in reply.alone(position) for position in range(count)):
        return [reply.row(position, position, position) for position in range(count)]
    if not reply.read_complete():
        for first, last in reply.blocks():
            reply.read_block(first, last)
    return reply.rows()


def _in_order(lines: Sequence[str], asked: Asked, form: Form) -> Iterator[Row]:
    """The rows of the first lines that are all of the part of the message asked in their position."""
    for position, (line, whose) in enumerate(zip(lines, asked.identities, strict=True)):
        row = form.ordinary(line, whose)
        if row is None:
            reply = _Reply(_segments([line], asked, form), asked, form)
            if position not in reply.alone(0):
                return
            yield reply.row(0, 0, position)
        else:
            yield row


def _segments(lines: Sequence[str], asked: Asked, form: Form) -> list[Segment]:
    segments: list[Segment] = []
    end, closed = len(lines), True
    for position in range(len(lines) - 1, -1, -1):
        line = lines[position].rstrip("\r")
        found = form.head(line)
        if found and found.whole and not closed:
            found = None
        if found or not position:
            text = "\n".join(lines[position:end])
            ends = [_as_asked(tail, asked) for tail in _tails_of(text, found, form)]
            segments.append(Segment(text, found or Head(frozenset()), ends))
            end, closed = position, True
        elif line.strip():
            closed = False
    return segments[::-1]


def _tails_of(text: str, head: Head | None, form: Form) -> Sequence[Tail]:
    if head and head.whole:
        return ()
    text = text.rstrip("\r\n")
    return form.tails(text[text.rfind("\n") + 1 :])


def _as_asked(tail: Tail, asked: Asked) -> Tail:
    """The tail with its phone in the notation in which it was asked."""
    position = None if tail.phone is None else asked.position(tail.id, tail.phone)
    return tail if position is None else Tail(tail.id, asked.identities[position][1])


class _Reply:
    """The segments of a reply, the messages that were asked, and what has been found of them."""

    def __init__(self, segments: Sequence[Segment], asked: Asked, form: Form) -> None:
        self._segments = segments
        self._who = asked
        self._asked = asked.identities
        self._form = form
        self._found: dict[int, tuple[int, int] | None] = {}
        self._order: list[int] = []
        self._bare: set[Key | None] = set()

    def row(self, first: int, last: int, message: int) -> Row:
        """The row that these segments are."""
        text = "\n".join(segment.text for segment in self._segments[first : last + 1]).rstrip("\r\n")
        whose = self._asked[message]
        return self._form.ordinary(text, whose) or with_index(self._form.read(text, whose), message)

    def span(self, first: int, last: int) -> Iterable[int]:
        """The messages that these segments may be the part of, by their first and last line."""
        head = self._segments[first].head
        if head.whole:
            return self._whole(head) if first == last else ()
        found = set()
        for tail in self._segments[last].tails:
            for phone in head.phones:
                position = self._who.position(tail.id, phone)
                if position is not None and tail.phone in (None, self._asked[position][1]):
                    found.add(position)
        return found

    def alone(self, segment: int) -> Iterable[int]:
        """The messages that one segment may be all of the part of."""
        return self.span(segment, segment)

    def _whole(self, head: Head) -> Iterable[int]:
        if not head.phones:
            return self._who.of_id(head.id)
        found = (self._who.position(head.id, phone) for phone in head.phones)
        return [position for position in found if position is not None]

    def blocks(self) -> Iterable[tuple[int, int]]:
        """The first and last segments of the parts of the reply that no message can reach across."""
        last_of: dict[Key, int] = {}
        for position, segment in enumerate(self._segments):
            for tail in segment.tails:
                last_of[tail.id] = position
        reach: dict[str, int] = {}
        first = 0
        last = -1
        for position, segment in enumerate(self._segments):
            if position > last and position > first:
                yield first, position - 1
                first = position
            last = max(last, position)
            for phone in () if segment.head.whole else segment.head.phones:
                if phone not in reach:
                    ids = (self._asked[message][0] for message in self._who.of_phone(phone))
                    reach[phone] = max((last_of.get(id, -1) for id in ids), default=-1)
                last = max(last, reach[phone])
        yield first, len(self._segments) - 1

    def read_complete(self) -> bool:
        """Find the messages of a reply that may answer all of them; whether there is such a way to read it.

        In each such way a message's part begins at most as many segments late as there are more segments than messages.
        """
        count, late = len(self._asked), len(self._segments) - len(self._asked)
        if late < 0 or (late + 1) * count > MAX_TRIES:
            return False
        cuts = [
            [Cut(position, message) for message in range(max(0, position - late), min(count, position + 1))]
            for position in range(len(self._segments))
        ]
        cuts = [[cut for cut in some if self._may_begin(cut)] for some in cuts]
        levels = SegmentChains(self._segments, self._asked, cuts, 0).levels()
        if len(levels) < count:
            return False
        self._take(levels, len(self._segments) - 1)
        return True

    def _may_begin(self, cut: Cut) -> bool:
        head = self._segments[cut.segment].head
        if head.whole and not head.phones:
            return self._asked[cut.message][0] == head.id
        return any(cut.message in self._who.of_phone(phone) for phone in head.phones)

    def read_block(self, first: int, last: int) -> None:
        """Find the messages of a block."""
        if self._read_simple(first, last):
            return
        if first == last and self._is_bare(first):
            self._bare.add(self._segments[first].head.id)
            return
        cuts: list[list[Cut]] = []
        count = 0
        for position in range(first, last + 1):
            cuts.append(self._cuts(position, last))
            count += len(cuts[-1])
            if count > MAX_CUTS:
                self._doubt(cut for some in cuts for cut in some)
                return
        levels = SegmentChains(self._segments[first : last + 1], self._asked, cuts, first).levels()
        if levels:
            self._take(levels, last)
        else:
            self._doubt(cut for some in cuts for cut in some)

    def _take(self, levels: list[list[Cut]], last: int) -> None:
        """Keep what all the longest chains agree on; the rest is in doubt."""
        for level, following in zip(levels, [*levels[1:], [Cut(last + 1, END)]], strict=True):
            start, message = level[0]
            end = following[0].segment - 1
            if len(level) == len(following) == 1 and not self._may_end_before(start, end, message):
                self._note(message, (start, end))
            else:
                self._doubt(level)

    def _read_simple(self, first: int, last: int) -> bool:
        """Read a block in which each segment is all of one message's part; repeats must be the same."""
        found: dict[int, int] = {}
        for position in range(first, last + 1):
            messages = list(self.alone(position))
            if len(messages) != 1:
                return False
            earlier = found.setdefault(messages[0], position)
            if self._segments[earlier].text != self._segments[position].text:
                return False
        for message, position in found.items():
            self._note(message, (position, position))
        return True

    def _is_bare(self, segment: int) -> bool:
        head = self._segments[segment].head
        return head.whole and not head.phones

    def _cuts(self, segment: int, last: int) -> list[Cut]:
        head = self._segments[segment].head
        if head.whole:
            return [Cut(segment, message) for message in self._whole(head)]
        messages: set[int] = set()
        named = [self._who.of_phone(phone) for phone in head.phones]
        for positions in named:
            if len(positions) == 1:
                messages.update(positions)
        if any(len(positions) > 1 for positions in named):
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

    def _doubt(self, cuts: Iterable[Cut]) -> None:
        """Keep that these messages are in doubt; of a bare id that may be several messages' only the id is known."""
        for cut in cuts:
            if self._is_bare(cut.segment):
                self._bare.add(self._segments[cut.segment].head.id)
            else:
                self._note(cut.message, None)

    def _text(self, span: tuple[int, int] | None) -> list[str] | None:
        return span and [segment.text for segment in self._segments[span[0] : span[1] + 1]]

    def rows(self) -> list[Row]:
        """What was found, in the reply's order."""
        rows: list[Row] = []
        for message in self._order:
            span = self._found[message]
            if span is None:
                id, phone = self._asked[message]
                rows.append(bad_row("lines that may be another's", {"id": text_id(str(id)), "phone": phone}, message))
            else:
                rows.append(self.row(*span, message))
        return rows + [bad_row("a line of one of several messages", {"id": text_id(str(id))}) for id in self._bare]
