"""Whose a last line is that may be cut."""

from __future__ import annotations

import pytest

from smsc_status._core.wire.truncation import without_cut_end
from smsc_status._core.wire.values import BadRow
from smsc_status.models import Detail, Identity, StatusRecord

A, B, C = "79990000001", "79990000002", "799900000012"


def record(id: int | str | None, phone: str | None = None) -> StatusRecord:
    return StatusRecord(status=1, id=id, phone=phone)


@pytest.mark.parametrize(
    ("detail", "rows", "asked", "is_doubtful"),
    [
        # an id that is the beginning of another's
        (Detail.BASIC, [record(12)], [(123, A), (12, B)], True),
        (Detail.BASIC, [record(12)], [(12, A), (13, B)], False),
        (Detail.BASIC, [record("ab")], [("abc", A), ("ab", B)], True),
        (Detail.BASIC, [record(123, A), record(12)], [(123, A), (12, B)], False),
        (Detail.BASIC, [record(99, B), record(12)], [(123, A), (12, B)], True),
        (Detail.FULL, [record(12, A)], [(123, A), (12, A)], True),
        (Detail.FULL, [record(12, A)], [(123, B), (12, A)], False),
        (Detail.FULL, [record(123, A), record(12, A)], [(123, A), (12, A)], False),
        # a phone that is: after it there is nothing at the basic level alone
        (Detail.BASIC, [record(7, A)], [(7, C), (7, A)], True),
        (Detail.BASIC, [record(7, C), record(7, A)], [(7, C), (7, A)], False),
        (Detail.BASIC, [record(7, A)], [(8, C), (7, A)], False),
        (Detail.BASIC, [record(7, A)], [(77, A), (7, A)], False),
        (Detail.FULL, [record(7, A)], [(7, C), (7, A)], False),
        # a phone that was asked in another notation
        (Detail.BASIC, [record(7, "7999000000")], [(7, "89990000001")], True),
        (Detail.BASIC, [record(7, A), record(7, "7999000000")], [(7, "89990000001")], False),
        (Detail.BASIC, [record(7, A)], [(7, "89990000001")], False),
        (Detail.FULL, [record(12, A)], [(123, "89990000001"), (12, B)], True),
        # no name where others have one
        (Detail.BASIC, [record(1), record(None)], [(1, A), (2, B)], True),
        (Detail.BASIC, [record(None), record(None)], [(1, A), (2, B)], False),
        (Detail.BASIC, [], [(1, A)], False),
    ],
)
def test_a_last_line_that_may_be_the_beginning_of_another_is_no_answer(
    detail: Detail, rows: list[StatusRecord], asked: list[Identity], is_doubtful: bool
) -> None:
    """It is nobody's if it may be the beginning of a line about a message that no other line is about."""
    found = without_cut_end(list(rows), asked, detail)
    assert found[:-1] == rows[:-1]
    if is_doubtful:
        assert isinstance(found[-1], BadRow)
        assert (found[-1].id, found[-1].phone, found[-1].index) == (None, None, None)
    else:
        assert found == rows
