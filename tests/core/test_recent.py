"""Records that may be given again: which, for how long, how many."""

from __future__ import annotations

from sys import getsizeof

import pytest

from smsc_status import Detail, HlrRecord, MessageRef, StatusRecord
from smsc_status._core.scheduling.recent import BYTES_A_RECORD, MAX_BYTES, RecentRecords

PHONE = "79990000000"


def identity(id: int) -> tuple[int | str, str]:
    return MessageRef(id, PHONE).identity


def record(text: str | None = None, comment: str | None = None) -> StatusRecord:
    return StatusRecord(status=1, message=text, comment=comment)


def test_nothing_is_kept_before_anybody_wants_it() -> None:
    """A job of a million messages keeps none of them."""
    recent = RecentRecords()
    recent.keep(identity(1), record(), Detail.BASIC, now=0)
    assert len(recent) == 0
    assert recent.find(identity(1), Detail.BASIC, since=-10) is None


def test_a_record_is_found_as_long_as_it_is_young_enough() -> None:
    """To the instant, for whoever asks."""
    recent = RecentRecords()
    recent.want(10)
    known = record()
    recent.keep(identity(1), known, Detail.BASIC, now=100)
    assert recent.find(identity(1), Detail.BASIC, since=100) is known
    assert recent.find(identity(1), Detail.BASIC, since=100.001) is None
    assert recent.find(identity(2), Detail.BASIC, since=0) is None


def test_a_record_of_less_detail_is_not_found() -> None:
    """A record of more detail is."""
    recent = RecentRecords()
    recent.want(10)
    recent.keep(identity(1), record(), Detail.FULL, now=0)
    assert recent.find(identity(1), Detail.BASIC, since=0) is not None
    assert recent.find(identity(1), Detail.EXTENDED, since=0) is None


def test_records_are_kept_for_the_longest_time_that_anybody_wants() -> None:
    """What is older goes when the next comes."""
    recent = RecentRecords()
    recent.want(10)
    recent.want(1)
    recent.keep(identity(1), record(), Detail.BASIC, now=0)
    recent.keep(identity(2), record(), Detail.BASIC, now=10)
    assert len(recent) == 2
    recent.keep(identity(3), record(), Detail.BASIC, now=10.5)
    assert len(recent) == 2
    assert recent.find(identity(1), Detail.BASIC, since=-1) is None


def test_a_newer_record_takes_the_place_of_the_older_one() -> None:
    """And is the youngest then."""
    recent = RecentRecords(max_bytes=2 * BYTES_A_RECORD)
    recent.want(100)
    recent.keep(identity(1), record(), Detail.BASIC, now=0)
    recent.keep(identity(2), record(), Detail.BASIC, now=1)
    newer = record()
    recent.keep(identity(1), newer, Detail.BASIC, now=2)
    recent.keep(identity(3), record(), Detail.BASIC, now=3)
    assert recent.find(identity(1), Detail.BASIC, since=0) is newer
    assert recent.find(identity(2), Detail.BASIC, since=0) is None


def test_a_forgotten_record_is_not_found_and_makes_room() -> None:
    """Also of what is not there."""
    recent = RecentRecords(max_bytes=BYTES_A_RECORD)
    recent.want(100)
    recent.keep(identity(1), record(), Detail.BASIC, now=0)
    recent.forget(identity(1))
    recent.forget(identity(1))
    assert recent.find(identity(1), Detail.BASIC, since=0) is None
    recent.keep(identity(2), record(), Detail.BASIC, now=0)
    assert len(recent) == 1


def test_ten_thousand_long_e_mails_stay_within_the_bound() -> None:
    """The oldest go."""
    recent = RecentRecords()
    recent.want(3600)
    for id in range(10_000):
        recent.keep(identity(id), record("я" * 17_000, "y" * 100), Detail.FULL, now=id)
    size = BYTES_A_RECORD + getsizeof("я" * 17_000) + getsizeof("y" * 100)
    assert len(recent) == MAX_BYTES // size
    assert recent.find(identity(9_999), Detail.FULL, since=0) is not None
    assert recent.find(identity(0), Detail.FULL, since=0) is None


@pytest.mark.parametrize(
    "kept",
    [
        StatusRecord(status=1, region="\N{PARTY POPPER}" * 1000),  # four bytes a letter
        StatusRecord(status=1, phone="7" * 4000),
        HlrRecord(status=1, net="n" * 4000),
    ],
)
def test_a_long_text_counts_in_whichever_field_it_is(kept: StatusRecord) -> None:
    """And by its bytes."""
    recent = RecentRecords(max_bytes=2 * (BYTES_A_RECORD + 4000))
    recent.want(100)
    recent.keep(identity(1), StatusRecord(status=1, region="Москва"), Detail.FULL, now=0)
    recent.keep(identity(2), kept, Detail.FULL, now=0)
    recent.keep(identity(3), kept, Detail.FULL, now=0)
    assert [recent.find(identity(id), Detail.FULL, since=0) for id in (1, 2, 3)] == [None, None, kept]


def test_a_record_that_is_larger_than_the_bound_is_not_kept() -> None:
    """Nothing else is kept then either; the next record is."""
    recent = RecentRecords(max_bytes=5000)
    recent.want(3600)
    recent.keep(identity(1), record("x" * 5000), Detail.FULL, now=0)
    assert len(recent) == 0
    recent.keep(identity(2), record("x" * 500), Detail.FULL, now=0)
    assert len(recent) == 1
