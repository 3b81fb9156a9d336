"""Makes the messages of the demo: of every kind and status, as a real account has them."""

from __future__ import annotations

from collections import defaultdict

import attrs

from smsc_status.codes import Status
from smsc_status.emulator import Emulator, World
from smsc_status.models import Identity, MessageRef, StatusRecord

HOUR = 3600.0
SPREAD = 2 * HOUR

WATCHED = 6
CHECKS_OF_WATCHED = 12

FIRST_ID = 100_001
FIRST_OF_STATUSES = 700_001
FIRST_UNKNOWN = 800_001
MAILINGS: tuple[int | str, ...] = (900_001, "spring-sale")


class RecordingWorld(World):
    """A world that remembers which statuses it has given for each message."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._said: defaultdict[Identity, set[tuple[int, int | None]]] = defaultdict(set)

    def record(self, id: int | str, phone: str, *, at: float) -> StatusRecord:
        """See `World.record`."""
        record = super().record(id, phone, at=at)
        self._said[MessageRef(id, phone).identity].add((record.status, record.err))
        return record

    def has_given(self, record: StatusRecord) -> bool:
        """Whether this world has given the status and error of this record for the record's message."""
        return (record.status, record.err) in self._said[record.ref.identity]


@attrs.frozen
class DemoMessages:
    """The messages to check once, and those of them to check over and over (`watched`)."""

    messages: list[MessageRef]
    watched: list[MessageRef]

    @property
    def checks(self) -> int:
        """How many checks the demo makes."""
        return len(self.messages) + len(self.watched) * CHECKS_OF_WATCHED


def add_demo_messages(emulator: Emulator, count: int) -> DemoMessages:
    """Add `count` messages to the emulator's world, and some that it has archived or never knew."""
    world, now = emulator.world, emulator.now()
    of_statuses = _one_of_each_status(world, now)[:count]
    in_mailings = (count - len(of_statuses)) // 4
    each = count - len(of_statuses) - in_mailings
    singles = world.populate(each, now=now, spread=SPREAD, first_id=FIRST_ID)
    messages = [*of_statuses, *singles]
    for number, mailing in enumerate(MAILINGS):
        size = in_mailings // len(MAILINGS) + (in_mailings % len(MAILINGS) if number == 0 else 0)
        first = FIRST_ID + each + number * in_mailings
        messages += world.populate(size, now=now, spread=SPREAD, first_id=first, mailing=mailing)
    few = max(1, count // 40)
    messages += [world.add(FIRST_UNKNOWN + i, f"79{i:09d}", sent_at=now - 30 * HOUR) for i in range(few)]
    messages += [MessageRef(FIRST_UNKNOWN + few + i, f"79{i:09d}") for i in range(few)]
    return DemoMessages(messages, (singles + of_statuses)[:WATCHED])


def _one_of_each_status(world: World, now: float) -> list[MessageRef]:
    """One message for each status, so that every status occurs whatever is drawn."""
    statuses = [status for status in Status if status is not Status.NOT_FOUND]
    return [
        world.add(FIRST_OF_STATUSES + i, f"7901{i:07d}", sent_at=now - HOUR, life=[(0, int(status), _err(status))])
        for i, status in enumerate(statuses)
    ]


def _err(status: Status) -> int | None:
    return {Status.EXPIRED: 6, Status.UNDELIVERABLE: 1, Status.WRONG_NUMBER: 249, Status.FORBIDDEN: 253}.get(status)
