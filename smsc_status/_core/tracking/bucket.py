"""A list of items that share an instant."""

from __future__ import annotations

from typing import TypeVar

ItemT = TypeVar("ItemT")


class Bucket(list[ItemT]):
    """The items of the instant `at`, and stale entries: items that have left, or belong to another bucket now.

    `live` counts the items without the stale entries.
    """

    __slots__ = ("at", "live")

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at: float = at
        self.live: int = 0
