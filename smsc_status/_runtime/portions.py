"""Work for an event loop that would hold it for too long in one go: a portion of it in each turn of the loop."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from smsc_status import _loops

PORTION = 100
"""So many steps are done in one turn of the event loop. Together with what each leads to, they take about 2 ms."""

_END = object()

WhoT = TypeVar("WhoT")
WhatT = TypeVar("WhatT")


class Portions(Generic[WhoT, WhatT]):
    """Those who are to be told something, and other work that is done step by step.

    It is done at once, as far as the portion of this turn goes, and otherwise in the next turns. Whoever is to be told
    goes before other work.

    Args:
        tell: tells one of them. It raises nothing.
        all_done: called when nothing is left of what could not be done at once.
    """

    def __init__(self, tell: Callable[[WhoT, WhatT], None], all_done: Callable[[], None]) -> None:
        self._tell_one = tell
        self._all_done = all_done
        self._outbox: OrderedDict[WhoT, WhatT] = OrderedDict()
        self._steps: deque[Iterator[object]] = deque()
        self._done_this_turn = 0
        self._is_at_work = False
        # The loop whose next turn begins a new portion.
        self._next_turn_in: object = None

    @property
    def is_busy(self) -> bool:
        """Whether something is left for the next turns of the loop."""
        return bool(self._outbox or self._steps)

    def tell(self, who: WhoT, what: WhatT) -> None:
        """Tell this one, now or in its turn."""
        if self._done_this_turn < PORTION and not self._outbox:
            self._count_step()
            self._tell_one(who, what)
        else:
            self._outbox[who] = what

    def forget(self, who: WhoT) -> None:
        """This one is not to be told any more."""
        self._outbox.pop(who, None)

    def go_through(self, steps: Iterator[object]) -> None:
        """Go through the steps: as many as go now, the others in the next turns of the loop."""
        self._steps.append(steps)
        self._do_portion()

    def next_turn(self) -> None:
        """Have the next turn of the loop that runs now begin a new portion."""
        loop = _loops.this_loop()
        if self._next_turn_in is not loop:
            self._next_turn_in = loop
            _loops.call_soon(self._begin_turn)

    def clear(self) -> None:
        """Nobody is to be told, and nothing is to be done any more: the loop is gone."""
        self._outbox.clear()
        self._steps.clear()
        self._done_this_turn, self._next_turn_in = 0, None

    def _begin_turn(self) -> None:
        self._next_turn_in = None
        self._done_this_turn = 0
        if self.is_busy:
            self._do_portion()
            if not self.is_busy:
                self._all_done()

    def _do_portion(self) -> None:
        if self._is_at_work:  # a step has led to further ones
            return
        self._is_at_work = True
        try:
            while self._done_this_turn < PORTION and self.is_busy:
                self._count_step()
                if self._outbox:
                    self._tell_one(*self._outbox.popitem(last=False))
                elif next(self._steps[0], _END) is _END:
                    self._steps.popleft()
        finally:
            self._is_at_work = False

    def _count_step(self) -> None:
        self._done_this_turn += 1
        if self._next_turn_in is None:
            self.next_turn()
