"""Which waiting messages go in the next request: a single one or a bulk one, now or when?

Messages wait in groups, one for each id, because tokens are an id's. A group is in one of three states:

    READY    a single or a bulk request may take its oldest message
    HELD     only a bulk request may: its last token is kept for the bulk lane, which answers many messages with it
    BLOCKED  no token is left

READY and HELD groups stand in line by the rank of their oldest message; HELD and BLOCKED ones also have an alarm, at
which they are looked at again. Entries of lines and alarms are dropped lazily: each move gives the group a new stamp,
and an entry with an older stamp means nothing. What is believed of a group is checked against the pacer before it is
used, for other clients take tokens of the same account.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from enum import Enum
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

import attrs

from smsc_status.core.division import Division
from smsc_status.core.pacing import Pacer
from smsc_status.errors import SmscError
from smsc_status.models import Detail, Identity, Key

SLACK = 64
"""So many entries of a line may mean nothing, and as many as there are that do."""


class State(Enum):
    """Where a question is."""

    WAITING = "waiting"
    PAUSED = "paused"
    ASKED = "asked"
    DONE = "done"


@attrs.define(eq=False)
class Question:
    """One distinct message that somebody waits for; `id` and `phone` in the caller's own form."""

    id: str
    phone: str
    identity: Identity
    detail: Detail
    rank: float
    """When it began to wait, less its head start: the smaller, the sooner its turn."""
    order: int = 0
    state: State = State.WAITING
    due_at: float = -inf
    tries: int = 0
    misses: int = 0
    last_error: SmscError | None = None
    claims: list[Any] = attrs.field(factory=list)
    """Who waits for it, and since which refusal of the account; nothing to the dispatcher."""
    epoch: int = 0


@attrs.frozen(eq=False)
class Request:
    """What goes on the wire together: the questions, and the distinct keys of their ids."""

    questions: tuple[Question, ...]
    keys: tuple[Key, ...]
    bulk: bool

    @property
    def detail(self) -> Detail:
        """The highest level that one of its messages asks for."""
        return max(question.detail for question in self.questions)


class _Group:
    """The waiting messages of one id, the oldest first."""

    __slots__ = ("key", "line", "stamp", "waiting")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.line: list[tuple[float, int, Question]] = []
        self.waiting = 0
        self.stamp = 0

    def head(self) -> Question:
        """The oldest that still waits; there is one while `waiting` is not 0."""
        line = self.line
        while not _stands(line[0]):
            heappop(line)
        return line[0][2]


def _stands(entry: tuple[float, int, Question]) -> bool:
    """Whether the entry of a line still means something."""
    rank, _, question = entry
    return question.state is State.WAITING and question.rank == rank


def _place_at(pacer: Pacer, now: float) -> float:
    """When a place comes free at the earliest; a reply may come at once."""
    return now if pacer.open_requests else pacer.place_due_at(now=now)


_Entry = tuple[float, int, int, _Group]


class Dispatcher:
    """The waiting messages of one client, and the order in which they go."""

    def __init__(self, max_bulk: int) -> None:
        self.division = Division(max_bulk)
        self.waiting = 0
        """How many questions wait, those that pause before a retry included."""
        self._groups: dict[Key, _Group] = {}
        self._ready: list[_Entry] = []
        self._held: list[_Entry] = []
        self._alarms: list[tuple[float, int, _Group]] = []
        self._paused: list[tuple[float, int, Question]] = []
        self._counter = itertools.count(1)
        self._refunds = 0

    # What happened.

    def add(self, question: Question, *, due_at: float = -inf) -> None:
        """This question waits, for the first time or again; it is not sent before `due_at`."""
        question.order = question.order or next(self._counter)
        question.due_at = due_at
        self.waiting += 1
        if due_at > -inf:
            question.state = State.PAUSED
            heappush(self._paused, (due_at, question.order, question))
        else:
            self._enter(question)

    def promote(self, question: Question, rank: float) -> None:
        """Somebody in more of a hurry waits for it too."""
        if rank >= question.rank:
            return
        question.rank = rank
        if question.state is State.WAITING:
            group = self._groups[question.identity[0]]
            heappush(group.line, (rank, question.order, question))
            self._believe_ready(group)

    def withdraw(self, question: Question) -> None:
        """Nobody waits for it any more."""
        waited, question.state = question.state, State.DONE
        self.division.done(question)
        if waited in (State.WAITING, State.PAUSED):
            self.waiting -= 1
            self._tidy()
        if waited is State.WAITING:
            self._count_out(self._groups[question.identity[0]])

    def bulk_refused(self, questions: Collection[Question]) -> None:
        """The server refused a bulk request of these as a whole; they are added again by themselves."""
        self.division.refused(questions)
        self._hasten_lone_suspect()

    def bulk_answered(self, size: int) -> None:
        """The server answered a bulk request of so many messages."""
        self.division.answered(size)
        self._hasten_lone_suspect()

    def _hasten_lone_suspect(self) -> None:
        """It goes alone, and nothing else goes in bulk until it has gone."""
        suspect = self.division.lone_suspect
        if isinstance(suspect, Question):
            self.promote(suspect, -inf)

    def drain(self) -> list[Question]:
        """Take out everything that waits, the oldest first."""
        entries = [entry for group in self._groups.values() for entry in group.line] + self._paused
        left = dict.fromkeys(q for *_, q in entries if q.state in (State.WAITING, State.PAUSED))
        for question in left:
            self.withdraw(question)
        return sorted(left, key=lambda question: (question.rank, question.order))

    # What to do now, and when to look again.

    def take(self, pacer: Pacer, *, at_most: float = inf, now: float) -> Request | None:
        """The next request, of `at_most` so many messages, if one may start now; the caller starts it.

        If more messages could go than the free places can take one by one, and the bulk slot is free, they go in bulk;
        otherwise one goes by itself; the oldest first.
        """
        if not self.waiting:
            return None
        self._look_again(pacer, now)
        places = pacer.free_places(now=now)
        if places <= 0:
            return None
        may_single = pacer.singles_due_at(now=now) <= now
        if pacer.bulk_due_at(now=now) <= now:
            request = self._take_bulk(pacer, places if may_single else 0, at_most, now)
            if request is not None:
                return request
        return self._take_single(pacer, now) if may_single else None

    def due_at(self, pacer: Pacer, *, now: float) -> float:
        """When to look again, after `take` gave nothing; `inf` while only an event can change that."""
        if not self.waiting:
            return inf
        lane_at = inf
        if self._front(self._ready):
            lane_at = min(pacer.singles_due_at(now=now), pacer.bulk_due_at(now=now))
        elif self._front(self._held):
            lane_at = pacer.bulk_due_at(now=now)
        due_at = max(lane_at, pacer.place_due_at(now=now))
        return min(due_at, self._next_alarm_at(), self._next_pause_ends_at())

    def start_at(self, question: Question, pacer: Pacer, *, now: float) -> float:
        """The earliest instant at which this waiting question can go, as far as is known: never too late."""
        token_at = pacer.due_at(question.identity[0], now=now)
        single_at = pacer.singles_due_at(now=now)
        group = self._groups.get(question.identity[0])
        tokens = 0 if group is None else pacer.tokens(group.key, now=now)
        if group is not None and 0 < tokens <= self._kept(group, pacer, now):  # singly only with one more
            single_at = max(single_at, pacer.due_at(group.key, spare=tokens, now=now))
        lane_at = min(single_at, pacer.bulk_due_at(now=now))
        return max(token_at, lane_at, _place_at(pacer, now), question.due_at)

    def soonest_at(self, pacer: Pacer, *, now: float) -> float:
        """The earliest instant at which any question can go, as far as is known: never too late."""
        lane_at = min(pacer.singles_due_at(now=now), pacer.bulk_due_at(now=now))
        return max(lane_at, _place_at(pacer, now))

    # Inside.

    def _enter(self, question: Question) -> None:
        question.state = State.WAITING
        key = question.identity[0]
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key)
        heappush(group.line, (question.rank, question.order, question))
        group.waiting += 1
        if group.line[0][2] is question or group.waiting == 1:
            self._believe_ready(group)

    def _count_out(self, group: _Group) -> None:
        group.waiting -= 1
        if group.waiting:
            if len(group.line) > SLACK + 2 * group.waiting:
                group.line = [entry for entry in group.line if _stands(entry)]
                heapify(group.line)
            self._believe_ready(group)
        else:
            group.stamp = -1
            del self._groups[group.key]

    def _take_from(self, group: _Group) -> Question:
        question = group.head()
        heappop(group.line)
        question.state = State.ASKED
        self.waiting -= 1
        self._count_out(group)
        return question

    def _take_single(self, pacer: Pacer, now: float) -> Request | None:
        while (entry := self._front(self._ready)) is not None:
            group = entry[3]
            if pacer.tokens(group.key, now=now) <= self._kept(group, pacer, now):
                self._place(group, pacer, now)
                continue
            return Request((self._take_from(group),), (group.key,), bulk=False)
        return None

    def _take_bulk(self, pacer: Pacer, places: int, at_most: float, now: float) -> Request | None:
        """The oldest messages that have a token, if the free places can't take them all singly."""
        division = self.division
        taken: list[Question] = []
        skipped: list[Question] = []
        suspects = could_go_singly = 0
        left: dict[Key, int] = {}
        while len(taken) < min(division.limit, at_most) and (group := self._oldest()) is not None:
            if group.key not in left:
                tokens = pacer.tokens(group.key, now=now)
                if not tokens:
                    self._place(group, pacer, now)
                    continue
                left[group.key] = tokens - self._kept(group, pacer, now)
            question = self._take_from(group)
            if division.is_suspect(question):
                if suspects == division.portion:
                    skipped.append(question)
                    continue
                suspects += 1
            taken.append(question)
            if left[group.key]:
                left[group.key] -= 1
                could_go_singly += 1
        fits_in_places = len(taken) <= min(places, could_go_singly)
        for question in [*skipped, *taken] if fits_in_places else skipped:
            self.add(question)
        if fits_in_places:
            return None
        return Request(tuple(taken), tuple(dict.fromkeys(q.identity[0] for q in taken)), bulk=True)

    def _oldest(self) -> _Group | None:
        fronts = [entry for line in (self._ready, self._held) if (entry := self._front(line)) is not None]
        return min(fronts)[3] if fronts else None

    def _front(self, line: list[_Entry]) -> _Entry | None:
        while line:
            entry = line[0]
            if entry[2] == entry[3].stamp:
                return entry
            heappop(line)
        return None

    def _next_alarm_at(self) -> float:
        while self._alarms and self._alarms[0][1] != self._alarms[0][2].stamp:
            heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else inf

    def _next_pause_ends_at(self) -> float:
        while self._paused and self._paused[0][2].state is not State.PAUSED:
            heappop(self._paused)
        return self._paused[0][0] if self._paused else inf

    def _kept(self, group: _Group, pacer: Pacer, now: float) -> int:
        """How many of the group's tokens single requests must leave alone."""
        return 1 if group.waiting > pacer.tokens(group.key, now=now) else 0

    def _believe_ready(self, group: _Group) -> None:
        head = group.head()
        group.stamp = next(self._counter)
        heappush(self._ready, (head.rank, head.order, group.stamp, group))
        self._tidy()

    def _tidy(self) -> None:
        """Drop what means nothing any more before it outgrows what does."""
        most = SLACK + 2 * len(self._groups)
        for line in (self._ready, self._held):
            if len(line) > most:
                line[:] = [entry for entry in line if entry[2] == entry[3].stamp]
                heapify(line)
        if len(self._alarms) > most:
            self._alarms = [entry for entry in self._alarms if entry[1] == entry[2].stamp]
            heapify(self._alarms)
        if len(self._paused) > SLACK + 2 * self.waiting:
            self._paused = [entry for entry in self._paused if entry[2].state is State.PAUSED]
            heapify(self._paused)

    def _place(self, group: _Group, pacer: Pacer, now: float) -> None:
        """Put a group that a single request can't take from where its tokens belong."""
        tokens = pacer.tokens(group.key, now=now)
        head = group.head()
        group.stamp = next(self._counter)
        if tokens:
            heappush(self._held, (head.rank, head.order, group.stamp, group))
        heappush(self._alarms, (pacer.due_at(group.key, spare=tokens, now=now), group.stamp, group))

    def _look_again(self, pacer: Pacer, now: float) -> None:
        while self._paused and self._paused[0][0] <= now:
            *_, question = heappop(self._paused)
            if question.state is State.PAUSED:
                self._enter(question)
        refunded, self._refunds = pacer.refunds != self._refunds, pacer.refunds
        while self._alarms and (refunded or self._alarms[0][0] <= now):
            _, stamp, group = heappop(self._alarms)
            if stamp == group.stamp:
                self._believe_ready(group)
