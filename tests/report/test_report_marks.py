"""Which rows count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_support import row

from smsc_status.report._counting.marks import Mark, Marks, marks_alone
from smsc_status.report._rows import Row

COUNTED = Mark.MESSAGE | Mark.FAILURE | Mark.FAILED | Mark.DELIVERY


def marks_of(*rows: Row) -> list[Mark]:
    marks = Marks()
    for one in rows:
        marks.see(one)
    marks.finish()
    assert len(marks) == len(rows)
    return [Mark(marks[index]) & COUNTED for index in range(len(rows))]


FAILURE = row(None, error="Archived")
NOTHING = Mark(0)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([row(0), row(1)], [NOTHING, Mark.MESSAGE | Mark.DELIVERY], id="the last one counts"),
        pytest.param([row(1), row(2)], [Mark.DELIVERY, Mark.MESSAGE], id="read: it was delivered before"),
        pytest.param(
            [row(1), row(2), row(4)], [Mark.DELIVERY, NOTHING, Mark.MESSAGE], id="link followed: delivered at first"
        ),
        pytest.param([row(2)], [Mark.MESSAGE], id="read: nobody knows when it was delivered"),
        pytest.param([row(1), row(20)], [NOTHING, Mark.MESSAGE], id="not delivered after all"),
        pytest.param([row(1), row(1)], [NOTHING, Mark.MESSAGE | Mark.DELIVERY], id="twice the same"),
        pytest.param([row(0), FAILURE], [Mark.MESSAGE | Mark.FAILED, Mark.FAILURE], id="a failure ends it"),
        pytest.param([row(1), FAILURE], [Mark.MESSAGE | Mark.FAILED, Mark.FAILURE], id="even a delivered one"),
        pytest.param([FAILURE], [Mark.MESSAGE | Mark.FAILURE | Mark.FAILED], id="a failure alone"),
        pytest.param([FAILURE, row(3)], [NOTHING, Mark.MESSAGE], id="a later run repairs a failure"),
        pytest.param(
            [FAILURE, FAILURE], [NOTHING, Mark.MESSAGE | Mark.FAILURE | Mark.FAILED], id="two failures are one"
        ),
        pytest.param(
            [row(1, id="07"), row(1, id=7, phone="+7 999 000-00-00")],
            [NOTHING, Mark.MESSAGE | Mark.DELIVERY],
            id="ids and phones are compared as the library does",
        ),
        pytest.param(
            [row(0), row(0, phone="79990000001"), row(0, id=8)], [Mark.MESSAGE] * 3, id="other phones, other messages"
        ),
        pytest.param(
            [row(None, id=None, phone=None, error="ConfigError")] * 2,
            [Mark.MESSAGE | Mark.FAILURE | Mark.FAILED] * 2,
            id="messages that can't be read are each their own",
        ),
    ],
)
def test_of_several_rows_the_last_one_counts(rows: list[Row], expected: list[Mark]) -> None:
    assert marks_of(*rows) == expected


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([-1, 0, 1, 2, 4, 20, None])), max_size=30))
def test_each_message_counts_once(given: list[tuple[int, int | None]]) -> None:
    """Whatever comes in whatever order: one row for each message, at most one delivery and one failure."""
    rows = [row(status, id=id, error="Archived" if status is None else None) for id, status in given]
    marks = marks_of(*rows)
    for mark, limit in ((Mark.MESSAGE, 1), (Mark.DELIVERY, 1), (Mark.FAILURE, 1)):
        for id in {id for id, _ in given}:
            count = sum(mark in found for found, (other, _) in zip(marks, given, strict=True) if other == id)
            assert count == 1 if mark is Mark.MESSAGE else count <= limit


@pytest.mark.slow
@given(st.lists(st.sampled_from([-3, -1, 0, 1, 2, 3, 4, 20, None]), max_size=8))
def test_messages_with_one_row_each_need_no_second_reading(statuses: list[int | None]) -> None:
    """Their marks are those of each row alone."""
    rows = [row(status, id=id, error="X" if status is None else None) for id, status in enumerate(statuses)]
    assert marks_of(*rows) == [Mark(marks_alone(one)) for one in rows]


def test_a_repeated_message_is_noticed() -> None:
    marks = Marks()
    marks.see(row(id=1))
    marks.see(row(id=2))
    assert not marks.has_repeats
    marks.see(row(id=1))
    assert marks.has_repeats
