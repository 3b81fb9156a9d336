"""Draws the lives of messages: which statuses a message has, and when.

A life depends only on the seed and the message, not on the order in which messages are added. It takes no memory, since
it can be drawn again whenever it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from struct import unpack
from typing import NamedTuple, TypeVar

from smsc_status.codes import FINAL, MessageType
from smsc_status.errors import ConfigError

T = TypeVar("T")

SMS, HLR, CALL, EMAIL = MessageType.SMS, MessageType.HLR, MessageType.CALL, MessageType.EMAIL

LOOK_UPS = frozenset({HLR, MessageType.PING_SMS})
"""The types of look-ups. They end with an error number, which is 0 for a phone that can be reached."""

MINUTE = 60.0
HOUR = 3600.0


class Step(NamedTuple):
    """The status and error that the server holds from `after` seconds after sending on."""

    after: float
    status: int
    err: int | None = None


Life = tuple[Step, ...]


class Draws:
    """An endless series of random numbers, which is the same on every machine for the same key."""

    __slots__ = ("_numbers",)

    def __init__(self, *key: object) -> None:
        self._numbers = _numbers("|".join(map(repr, key)))

    def chance(self) -> float:
        """A number in [0, 1)."""
        return next(self._numbers)

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * next(self._numbers)

    def whole(self, low: int, high: int) -> int:
        """A whole number in [low, high)."""
        return low + int((high - low) * next(self._numbers))

    def one_of(self, choices: Sequence[T]) -> T:
        """One of the choices, all equally likely."""
        return choices[int(len(choices) * next(self._numbers))]

    def weighted(self, choices: Sequence[tuple[float, T]]) -> T:
        """One of the choices, with likelihoods in proportion to the weights. The weights may have any sum."""
        left = sum(weight for weight, _ in choices) * next(self._numbers)
        for weight, choice in choices:
            left -= weight
            if left < 0:
                return choice
        return choices[-1][1]


def _numbers(key: str) -> Iterator[float]:
    block = 0
    while True:
        digest = blake2b(f"{block}|{key}".encode(), digest_size=64).digest()
        block += 1
        yield from ((number >> 11) / 2**53 for number in unpack("<8Q", digest))


class WayToEnd(NamedTuple):
    """A way to end: between `low` and `high` seconds after sending, with one of `endings` (weight, (status, err))."""

    low: float
    high: float
    endings: Sequence[tuple[float, tuple[int, int | None]]]


WaysToEnd = Sequence[tuple[float, WayToEnd]]

# The gateway refuses these messages itself, so they never have the status "passed to the operator".
AT_THE_GATEWAY = {22, 23, 24, 25}

DELIVERED: Sequence[tuple[float, tuple[int, int | None]]] = ((99.5, (1, None)), (0.5, (1, 200)))
LATE: Sequence[tuple[float, tuple[int, int | None]]] = (
    (30, (1, None)),
    (25, (3, 6)),
    (5, (3, 13)),
    (5, (3, 220)),
    (10, (3, 245)),
    (10, (20, 6)),
    (5, (20, 12)),
    (5, (20, 220)),
    (5, (20, 255)),
)
REFUSED: Sequence[tuple[float, tuple[int, int | None]]] = (
    (16, (20, 1)),
    (6, (20, 11)),
    (4, (20, 12)),
    (6, (20, 13)),
    (4, (20, 21)),
    (4, (20, 219)),
    (4, (20, 220)),
    (2, (20, 241)),
    (6, (20, 255)),
    (10, (22, 249)),
    (2, (23, 238)),
    (2, (23, 239)),
    (2, (23, 243)),
    (2, (23, 244)),
    (2, (23, 246)),
    (2, (23, 247)),
    (2, (23, 250)),
    (2, (23, 251)),
    (2, (23, 252)),
    (4, (23, 253)),
    (4, (23, 254)),
    (6, (24, None)),
    (6, (25, 248)),
)

SMS_WAYS: WaysToEnd = (
    (70, WayToEnd(2, 20, DELIVERED)),
    (15, WayToEnd(20, 10 * MINUTE, DELIVERED)),
    (8, WayToEnd(10 * MINUTE, 6 * HOUR, LATE)),
    (7, WayToEnd(1.5, 10, REFUSED)),
)
HLR_WAYS: WaysToEnd = (
    (85, WayToEnd(2, 20, ((88, (1, 0)), (6, (1, 6)), (3, (1, 13)), (2, (1, 11)), (1, (2, 0))))),
    (8, WayToEnd(20, 10 * MINUTE, ((50, (1, 0)), (30, (3, 6)), (20, (20, 12))))),
    (7, WayToEnd(2, 10, ((60, (20, 1)), (15, (20, 255)), (10, (22, 249)), (10, (25, 248)), (5, (24, None))))),
)
CALL_WAYS: WaysToEnd = (
    (68, WayToEnd(8, 90, DELIVERED)),
    (14, WayToEnd(30, 5 * MINUTE, ((100, (20, 237)),))),
    (8, WayToEnd(5, MINUTE, ((100, (20, 240)),))),
    (4, WayToEnd(5, MINUTE, ((100, (20, 242)),))),
    (1, WayToEnd(1.5, 10, ((100, (20, 241)),))),
    (5, WayToEnd(1.5, 10, REFUSED)),
)
EMAIL_WAYS: WaysToEnd = (
    (85, WayToEnd(2, MINUTE, ((95, (1, None)), (5, (1, 0))))),
    (5, WayToEnd(10 * MINUTE, 6 * HOUR, ((50, (1, None)), (25, (3, 245)), (25, (20, 2))))),
    (
        10,
        WayToEnd(
            1.5,
            10,
            (
                (25, (20, 1)),
                (12, (20, 2)),
                (12, (20, 3)),
                (10, (20, 4)),
                (10, (20, 255)),
                (10, (22, 249)),
                (5, (23, 239)),
                (5, (23, 252)),
                (5, (23, 253)),
                (5, (23, 254)),
                (5, (25, 248)),
            ),
        ),
    ),
)
WAYS: dict[int, WaysToEnd] = {**dict.fromkeys(LOOK_UPS, HLR_WAYS), CALL: CALL_WAYS, EMAIL: EMAIL_WAYS}

CLICKED_SHARE = 0.05
READ_SHARE = 0.4


def draw_life(kind: int, draws: Draws) -> Life:
    """The life of a message of this type (the vendor's `type`), from waiting to its last status."""
    way = draws.weighted(WAYS.get(kind, SMS_WAYS))
    status, err = draws.weighted(way.endings)
    accepted = draws.between(0.2, 1.5)
    ended = draws.between(way.low, way.high)
    steps = [Step(0.0, -1)]
    if status not in AT_THE_GATEWAY:
        steps.append(Step(accepted, 0))
        if kind in LOOK_UPS:
            # A look-up with the status "delivered" but without an error code has only been sent.
            steps.append(Step(accepted + 0.3, 1))
    steps.append(Step(ended, status, err))
    if status == 1 and kind not in LOOK_UPS:
        steps += _after_delivery(kind, ended, draws)
    return tuple(steps)


def _after_delivery(kind: int, delivered: float, draws: Draws) -> Iterator[Step]:
    """What happens within an hour after delivery: the addressee may open an e-mail, or follow a link."""
    opened = delivered
    if kind == EMAIL and draws.chance() < READ_SHARE:
        opened = draws.between(delivered, delivered + HOUR)
        yield Step(opened, 2)
    if kind != CALL and draws.chance() < CLICKED_SHARE:
        yield Step(draws.between(opened, delivered + HOUR), 4)


def explicit_life(steps: Sequence[Sequence[float | int | None]]) -> Life:
    """A life from steps `(after, status)` or `(after, status, err)`, in the order of time.

    Raises:
        ConfigError: a step has another form, or is earlier than the step before it.
    """
    life: list[Step] = []
    for step in steps:
        if len(step) not in (2, 3) or step[0] is None or step[1] is None:
            raise ConfigError(f"step {step!r} of a life: expected (after_seconds, status) or with err")
        err = step[2] if len(step) == 3 else None
        if life and step[0] < life[-1].after:
            raise ConfigError(f"step {step!r} of a life: expected at least {life[-1].after} s, as the step before it")
        life.append(Step(float(step[0]), int(step[1]), None if err is None else int(err)))
    return tuple(life)


def step_at(life: Life, age: float) -> Step:
    """The step of a life that holds `age` seconds after sending. Before its first step a message is waiting (-1)."""
    current = Step(0.0, -1)
    for step in life:
        if step.after > age:
            break
        current = step
    return current


def is_over(kind: int, step: Step) -> bool:
    """Whether the step's status is final. A look-up's 1 or 2 without an error code is not."""
    return step.status in FINAL and not (kind in LOOK_UPS and step.status in (1, 2) and step.err is None)
