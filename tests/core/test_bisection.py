"""The search for the culprit of a refused bulk request, and the size that a server takes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsc_status._core.scheduling.bisection import BatchBisection, may_be_divided
from smsc_status.errors import ApiError, ParametersError, ProtocolError, RequestTimeout, SmscError, TransportError


def test_at_first_the_size_is_the_largest_and_nobody_is_suspected() -> None:
    """Nothing is held against a server that has refused nothing."""
    bisection = BatchBisection(1000)
    assert bisection.limit == 1000
    assert not bisection.is_suspect("a")
    bisection.batch_succeeded(10)
    assert bisection.limit == 1000


def test_a_refusal_halves_a_size_that_was_never_answered() -> None:
    """Down to one. All its messages are suspects, but the size may be to blame."""
    bisection = BatchBisection(8)
    messages = list(range(8))
    sizes = []
    while len(messages) > 1:
        bisection.batch_refused(messages)
        assert all(bisection.is_suspect(message) for message in messages)
        assert bisection.portion == bisection.limit
        messages = messages[: bisection.limit]
        sizes.append(bisection.limit)
    assert sizes == [4, 2, 1]


def test_a_size_that_was_answered_is_kept() -> None:
    """A message must be to blame then, and a quarter of the suspects goes with others."""
    bisection = BatchBisection(1000)
    bisection.batch_succeeded(1000)
    bisection.batch_refused(range(1000))
    assert (bisection.limit, bisection.portion) == (1000, 250)
    bisection.batch_refused(range(250))
    assert (bisection.limit, bisection.portion) == (1000, 62)
    assert not bisection.is_suspect(250)


def test_few_suspects_go_one_by_one() -> None:
    """A part is never empty."""
    bisection = BatchBisection(1000)
    bisection.batch_succeeded(1000)
    bisection.batch_refused(range(3))
    assert (bisection.limit, bisection.portion) == (1000, 1)


def test_a_lone_suspect_goes_alone() -> None:
    """With others beside it, it would spoil each request anew."""
    bisection = BatchBisection(1000)
    bisection.batch_succeeded(1000)
    bisection.batch_refused(range(1000))
    bisection.batch_refused([0, *range(1000, 1999)])
    assert bisection.is_suspect(0)
    assert not bisection.is_suspect(1)
    assert (bisection.limit, bisection.portion) == (1, 1)


def test_answers_clear_suspects() -> None:
    """The plan follows from those who are left."""
    bisection = BatchBisection(100)
    bisection.batch_refused(range(100))
    assert (bisection.limit, bisection.portion) == (50, 50)
    for message in range(50):
        bisection.done(message)
    bisection.batch_succeeded(50)
    assert not bisection.is_suspect(49)
    assert bisection.is_suspect(50)
    assert (bisection.limit, bisection.portion) == (50, 12)


def test_the_culprit_restores_the_size() -> None:
    """Named by a request of its own; the others are cleared."""
    bisection = BatchBisection(1000)
    bisection.batch_refused(range(1000))
    bisection.batch_refused(range(500))
    assert bisection.limit == 250
    bisection.refused_alone("somebody else")
    assert bisection.limit == 250
    bisection.refused_alone(7)
    assert bisection.limit == 1000
    assert not bisection.is_suspect(8)


def test_without_a_culprit_the_size_grows_back_slowly() -> None:
    """By a tenth of the largest with each answer, and no further than that."""
    bisection = BatchBisection(100)
    bisection.batch_refused(range(100))
    for message in range(100):
        bisection.done(message)
    sizes = []
    for _ in range(7):
        bisection.batch_succeeded(50)
        sizes.append(bisection.limit)
    assert sizes == [60, 70, 80, 90, 100, 100, 100]


@pytest.mark.parametrize("largest", [1, 2, 5])
def test_small_sizes_grow_by_at_least_one_message(largest: int) -> None:
    """By one message at least."""
    bisection = BatchBisection(largest)
    bisection.batch_refused(range(2))
    bisection.done(0)
    bisection.done(1)
    for _ in range(largest):
        bisection.batch_succeeded(1)
    assert bisection.limit == largest


def test_the_size_before_the_search_is_what_comes_back() -> None:
    """A culprit found while the size was growing back does not make it the largest."""
    bisection = BatchBisection(100)
    bisection.batch_refused(range(100))
    for message in range(100):
        bisection.done(message)
    bisection.batch_succeeded(50)
    assert bisection.limit == 60
    bisection.batch_refused(range(200, 260))
    bisection.refused_alone(200)
    assert bisection.limit == 60


@given(st.integers(2, 200), st.data())
@settings(max_examples=100, deadline=None)
def test_the_search_finds_the_culprit(count: int, data: st.DataObject) -> None:
    """By bulk requests alone, whichever it is: at the end it goes by itself, and is named."""
    culprit = data.draw(st.integers(0, count - 1))
    bisection = BatchBisection(1000)
    if data.draw(st.booleans()):
        bisection.batch_succeeded(1000)
    waiting = list(range(count))
    requests = 0
    while culprit in waiting:
        requests += 1
        assert requests <= 40
        part: list[int] = []
        suspects = 0
        suspects_only = bisection.portion == bisection.limit
        for message in filter(bisection.is_suspect, waiting) if suspects_only else waiting:
            if len(part) == bisection.limit or (bisection.is_suspect(message) and suspects == bisection.portion):
                continue
            suspects += bisection.is_suspect(message)
            part.append(message)
        if culprit not in part:
            for message in part:
                waiting.remove(message)
                bisection.done(message)
            bisection.batch_succeeded(len(part))
        elif len(part) > 1:
            bisection.batch_refused(part)
        else:
            bisection.refused_alone(culprit)
            bisection.done(culprit)
            waiting.remove(culprit)
        assert 1 <= bisection.limit <= 1000
    assert bisection.limit == 1000


def test_a_time_out_halves_the_size_and_suspects_nobody() -> None:
    """The server may be too slow for so many."""
    bisection = BatchBisection(1000)
    bisection.batch_timed_out(1000)
    assert bisection.limit == 500
    assert not bisection.is_suspect(1)
    bisection.batch_timed_out(500)
    assert bisection.limit == 250


def test_a_small_request_that_times_out_says_nothing_of_large_ones() -> None:
    """Two messages are not too many. Where no more than a few are allowed, there may be fewer still."""
    bisection = BatchBisection(1000)
    for size in (1, 2, 15):
        bisection.batch_timed_out(size)
    assert bisection.limit == 1000
    bisection.batch_timed_out(16)
    assert bisection.limit == 8
    bisection.batch_timed_out(8)
    assert bisection.limit == 4


def test_a_late_time_out_of_a_large_request_does_not_make_the_size_larger() -> None:
    """Two were on their way."""
    bisection = BatchBisection(1000)
    bisection.batch_timed_out(100)
    bisection.batch_timed_out(1000)
    assert bisection.limit == 50


def test_a_size_that_is_too_slow_is_approached_with_care() -> None:
    """By tenths up to it, then by hundredths: each failure costs a minute."""
    bisection = BatchBisection(1000)
    bisection.batch_timed_out(1000)
    sizes = []
    for _ in range(7):
        bisection.batch_succeeded(bisection.limit)
        sizes.append(bisection.limit)
    assert sizes == [600, 700, 800, 900, 910, 920, 930]


@pytest.mark.parametrize("size", [1000, 700, 300, 10, 2])
def test_a_server_that_was_slow_once_is_used_fully_again(size: int) -> None:
    """Within a quarter of an hour of bulk requests, whatever their size was then."""
    bisection = BatchBisection(1000)
    bisection.batch_timed_out(size)
    requests = 0
    while bisection.limit < 1000:
        bisection.batch_succeeded(bisection.limit)
        requests += 1
    assert requests <= 30


def test_a_size_that_is_answered_after_all_is_not_too_slow() -> None:
    """From then on the size grows by tenths again."""
    bisection = BatchBisection(1000)
    bisection.batch_timed_out(20)
    bisection.batch_succeeded(10)
    assert bisection.limit == 11
    bisection.batch_succeeded(20)
    assert bisection.limit == 111


@pytest.mark.parametrize("most", [3, 30, 300, 750, 999])
def test_a_slow_server_is_found_out_and_mostly_used_as_it_can_be(most: int) -> None:
    """One that answers so many in time: few requests are lost, the others are large."""
    bisection = BatchBisection(1000)
    lost, answered = 0, []
    for _ in range(300):
        size = bisection.limit
        if size > most:
            lost += 1
            bisection.batch_timed_out(size)
        else:
            answered.append(size)
            bisection.batch_succeeded(size)
    assert lost <= 300 / (2 if most < 10 else 6)
    assert sum(answered) / len(answered) >= most / 2


def test_a_time_out_unproves_a_size() -> None:
    """A refusal later divides anew."""
    bisection = BatchBisection(1000)
    bisection.batch_succeeded(1000)
    bisection.batch_timed_out(1000)
    bisection.batch_refused(range(500))
    assert (bisection.limit, bisection.portion) == (500, 125)
    bisection.batch_timed_out(500)
    assert bisection.limit == 250


def test_the_last_suspect_is_known() -> None:
    """While there are several, nobody in particular is."""
    bisection = BatchBisection(10)
    assert bisection.lone_suspect is None
    bisection.batch_refused(["a", "b"])
    assert bisection.lone_suspect is None
    bisection.done("a")
    assert bisection.lone_suspect == "b"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ProtocolError("", status=200), True),
        (ProtocolError("", status=413), True),
        (ProtocolError("", status=414), True),
        (ProtocolError("", status=403), False),
        (ProtocolError(""), False),
        (ParametersError(1), True),
        (ApiError(77), True),
        (TransportError(), False),
        (RequestTimeout(), False),
    ],
)
def test_only_errors_that_smaller_requests_may_avoid_divide_a_request(error: SmscError, expected: bool) -> None:
    """One bad message, too large a request, or a text that spoils the answer; not a server that is away."""
    assert may_be_divided(error) is expected
