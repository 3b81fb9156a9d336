"""Whom an answer names."""

from __future__ import annotations

import pytest

from smsc_status._core.wire.asked import Asked, are_alike
from smsc_status.models import Identity

MAILING: list[Identity] = [(5, "89990000001"), (5, "89990000002"), (6, "79990000001"), ("a", "bob@example.ru")]


@pytest.mark.parametrize(
    ("id", "phone", "place"),
    [
        (5, "89990000001", 0),
        (5, "79990000001", 0),
        (5, "9990000002", 1),
        (6, "89990000001", 2),
        (6, "89990000002", None),
        (7, "79990000001", None),
        (None, "79990000001", None),
        (5, "0000001", None),
        (5, "", None),
        ("a", "bob@example.ru", 3),
        ("a", "rob@example.ru", None),
    ],
)
def test_a_message_is_named_by_its_id_and_the_last_ten_digits(id: int | None, phone: str, place: int | None) -> None:
    """In whichever notation; e-mail addresses are never alike."""
    asked = Asked(MAILING)
    assert asked.position(id, phone) == place
    assert asked.position_of_texts(str(id), phone) == place


def test_two_phones_that_end_alike_are_told_by_all_their_digits() -> None:
    """And by nothing else."""
    asked = Asked([(5, "79990000001"), (5, "19990000001"), (6, "19990000001")])
    assert [asked.position(5, phone) for phone in ("79990000001", "19990000001", "89990000001")] == [0, 1, None]
    assert asked.of_phone("79990000001") == {0, 2}
    assert asked.of_phone("89990000001") == {2}
    assert asked.of_phone("1") == frozenset()
    assert [list(asked.of_id(id)) for id in (5, 6, 7)] == [[0, 1], [2], []]


def test_an_id_is_read_as_it_is_printed() -> None:
    """Zeros before it, and a phone's punctuation, do not count."""
    assert Asked(MAILING).position_of_texts("005", "+7 (999) 000-00-02") == 1


def test_phones_are_alike_by_their_last_ten_digits() -> None:
    """Shorter ones by all of them."""
    assert are_alike("89990000001", "79990000001")
    assert not are_alike("990000001", "79990000001")
    assert are_alike("102", "102")
    assert not are_alike("a@9990000001.ru", "b@9990000001.ru")
