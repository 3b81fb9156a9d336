"""The messages of a request, found by the id and phone in an answer.

The vendor stores a phone in a corrected form: a message asked as `8 999 …` may be answered as `7999…`. So two numbers
that end in the same digits count as one, unless several messages of the id have such a number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from smsc_status._core.wire.values import key_of
from smsc_status.models import Identity, Key, phone_key

NATIONAL_DIGITS = 10


def national(phone: str) -> str:
    """The last digits of a number, which are the same in all its notations; an e-mail address unchanged."""
    return phone if "@" in phone else phone[-NATIONAL_DIGITS:]


def are_alike(one: str, other: str) -> bool:
    """Whether two phones may be one phone in two notations."""
    return one == other or national(one) == national(other)


class Asked:
    """The messages of a request, found by what an answer names. They are given as positions in the request."""

    def __init__(self, identities: Sequence[Identity]) -> None:
        self.identities = identities
        self._exact = {identity: position for position, identity in enumerate(identities)}
        self._alike: dict[Identity, int | None] = {}
        self._of_id: dict[Key | None, list[int]] = defaultdict(list)
        self._of_number: dict[str, list[int]] = defaultdict(list)
        self._of_phone: dict[str, frozenset[int]] = {}
        self._of_texts = {(str(id), phone): position for (id, phone), position in self._exact.items()}
        for position, (id, phone) in enumerate(identities):
            number = national(phone)
            self._alike[id, number] = None if (id, number) in self._alike else position
            self._of_id[id].append(position)
            self._of_number[number].append(position)

    def position(self, id: Key | None, phone: str) -> int | None:
        """The message of this id and phone; else the only message of this id whose phone is alike."""
        if id is None:
            return None
        position = self._exact.get((id, phone))
        return self._alike.get((id, national(phone))) if position is None else position

    def position_of_texts(self, id: str, phone: str) -> int | None:
        """As `position`, for an id and a phone as they are printed."""
        position = self._of_texts.get((id, phone))
        return self.position(key_of(id), phone_key(phone)) if position is None else position

    def of_id(self, id: Key | None) -> Sequence[int]:
        """The messages of this id."""
        return self._of_id.get(id, ())

    def of_phone(self, phone: str) -> frozenset[int]:
        """The messages that this phone, together with the message's own id, may name."""
        positions = self._of_phone.get(phone)
        if positions is None:
            positions = self._of_phone[phone] = frozenset(self._named_by(phone))
        return positions

    def _named_by(self, phone: str) -> Iterator[int]:
        for position in self._of_number.get(national(phone), ()):
            if self.position(self.identities[position][0], phone) == position:
                yield position
