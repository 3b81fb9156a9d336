"""Hands outcomes to their subscribers, in portions.

Telling very many subscribers at once would hold the event loop for too long. So only a portion of them is told in each
turn of the loop.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator

from smsc_status import _loops
from smsc_status._core.scheduling.pending import PORTION
from smsc_status._core.scheduling.subscribers import Subscriber, for_subscriber, unexpected
from smsc_status.errors import SmscError
from smsc_status.models import StatusRecord

logger = logging.getLogger("smsc_status")

_END = object()


class PortionedOutbox:
    """Tells subscribers their outcomes, and does other work step by step.

    As much as fits into this turn's portion is done at once, the rest in the next turns. Subscribers come first.

    Args:
        all_done: called when work that was left for later turns is all done.
    """

    def __init__(self, all_done: Callable[[], None]) -> None:
        self._all_done = all_done
        self._outcomes: OrderedDict[Subscriber, StatusRecord | SmscError] = OrderedDict()
        self._steps: deque[Iterator[object]] = deque()
        self._done_this_turn = 0
        self._is_at_work = False
        # The loop in which `_begin_turn` is scheduled; `None` if it is not.
        self._next_turn_in: object = None

    @property
    def is_busy(self) -> bool:
        """Whether work is left for the next turns of the loop."""
        return bool(self._outcomes or self._steps)

    def tell(self, who: Subscriber, what: StatusRecord | SmscError) -> None:
        """Hand over the outcome, now or in a later turn of the loop."""
        if self._done_this_turn < PORTION and not self._outcomes:
            self._count_step()
            _deliver(who, what)
        else:
            self._outcomes[who] = what

    def forget(self, who: Subscriber) -> None:
        """Do not tell this subscriber any more."""
        self._outcomes.pop(who, None)

    def go_through(self, steps: Iterator[object]) -> None:
        """Do the steps: as many as fit into this turn now, the others in the next turns of the loop."""
        self._steps.append(steps)
        self._do_portion()

    def next_turn(self) -> None:
        """Begin a new portion in the next turn of the running loop."""
        loop = _loops.this_loop()
        if self._next_turn_in is not loop:
            self._next_turn_in = loop
            _loops.call_soon(self._begin_turn)

    def clear(self) -> None:
        """Drop everything that is left, because its event loop is gone."""
        self._outcomes.clear()
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
        if self._is_at_work:  # a step has added further steps: the loop below does them
            return
        self._is_at_work = True
        try:
            while self._done_this_turn < PORTION and self.is_busy:
                self._count_step()
                if self._outcomes:
                    _deliver(*self._outcomes.popitem(last=False))
                elif next(self._steps[0], _END) is _END:
                    self._steps.popleft()
        finally:
            self._is_at_work = False

    def _count_step(self) -> None:
        self._done_this_turn += 1
        if self._next_turn_in is None:
            self.next_turn()


def _deliver(subscriber: Subscriber, outcome: StatusRecord | SmscError) -> None:
    """Hand over one outcome. If the subscriber raises, it gets that error as its outcome; others are not affected."""
    try:
        subscriber.on_result(for_subscriber(outcome, subscriber.ref))
    except Exception as error:
        logger.exception("an outcome could not be handed over: unexpected error")
        try:
            subscriber.on_result(unexpected(error))
        except Exception:
            logger.exception("this error could not be handed over either: unexpected error")
