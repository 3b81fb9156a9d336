"""Lives are drawn from the seed and the message alone, in the shares that are documented."""

from collections import Counter

import pytest

from smsc_status.emulator._lives import Draws, Life, Step, draw_life, explicit_life, is_over, step_at
from smsc_status.errors import ConfigError

SMS, HLR, CALL, EMAIL = 0, 4, 7, 8
MANY = 20_000

SMS_ERRORS = {0, 1, 6, 11, 12, 13, 21, 200, 219, 220, 237, *range(238, 256)}
EMAIL_ERRORS = {0, 1, 2, 3, 4, 239, 245, 248, 249, 252, 253, 254, 255}


def lives_of(kind: int, count: int = MANY) -> list[Life]:
    return [draw_life(kind, Draws("seed", kind, number)) for number in range(count)]


def ending(life: Life) -> Step:
    """The first final status."""
    return next(step for step in life if is_over(SMS, step))


def test_draws_are_the_same_for_the_same_key_and_never_end() -> None:
    numbers = [Draws(1, "life", 7, "79990000000") for _ in range(2)]
    row = [numbers[0].chance() for _ in range(20)]
    assert row == [numbers[1].chance() for _ in range(20)]
    assert len(set(row)) == 20
    assert all(0 <= number < 1 for number in row)


def test_draws_are_pinned_so_that_a_seed_means_the_same_world_in_every_release() -> None:
    assert round(Draws(1, "life", 7).chance(), 6) == 0.613039


def test_a_weighted_choice_keeps_its_weights() -> None:
    draws = Draws("weights")
    seen = Counter(draws.weighted(((3, "a"), (1, "b"), (0, "c"))) for _ in range(4000))
    assert 2900 < seen["a"] < 3100
    assert seen["c"] == 0


def test_a_weighted_choice_survives_rounding() -> None:
    draws = Draws("x")
    draws._numbers = iter([1.0])  # no seed draws it: rounding does
    assert draws.weighted(((0.1, "a"), (0.2, "b"))) == "b"


def test_ranges_are_half_open() -> None:
    draws = Draws("ranges")
    assert {draws.whole(1, 4) for _ in range(200)} == {1, 2, 3}
    assert {draws.one_of("ab") for _ in range(100)} == {"a", "b"}


@pytest.mark.slow
def test_lives_of_sms_have_the_documented_shares() -> None:
    bands: Counter[str] = Counter()
    clicked = delivered = 0
    for life in lives_of(SMS):
        end = ending(life)
        delivered += end.status == 1
        clicked += life[-1].status == 4
        if end.after < 10 and end.status != 1:
            bands["refused"] += 1
        elif end.after < 20:
            bands["quick"] += 1
        elif end.after < 600:
            bands["slow"] += 1
        else:
            bands["late"] += 1
    shares = {band: count / MANY for band, count in bands.items()}
    assert shares == pytest.approx({"quick": 0.70, "slow": 0.15, "late": 0.08, "refused": 0.07}, abs=0.012)
    assert clicked / delivered == pytest.approx(0.05, abs=0.01)


@pytest.mark.slow
def test_quick_deliveries_take_2_to_20_seconds_and_late_ends_at_most_6_hours() -> None:
    ends = [ending(life) for life in lives_of(SMS)]
    assert min(end.after for end in ends if end.status == 1) >= 2
    assert 5 * 3600 < max(end.after for end in ends) <= 6 * 3600
    assert {end.status for end in ends if end.after > 600} == {1, 3, 20}


@pytest.mark.slow
def test_a_click_comes_within_the_hour_after_delivery() -> None:
    for life in lives_of(SMS):
        if life[-1].status == 4:
            assert 0 <= life[-1].after - life[-2].after <= 3600


def test_a_life_waits_then_is_passed_on_unless_the_gateway_refuses_it() -> None:
    for life in lives_of(SMS, 2000):
        assert life[0] == (0, -1, None)
        assert list(life) == sorted(life, key=lambda step: step.after)
        assert (life[1].status == 0) == (ending(life).status not in (22, 23, 24, 25))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kinds", "expected"),
    [((SMS, HLR, CALL), SMS_ERRORS), ((EMAIL,), EMAIL_ERRORS)],
)
def test_every_documented_error_occurs_and_no_other(kinds: tuple[int, ...], expected: set[int]) -> None:
    seen = {step.err for kind in kinds for life in lives_of(kind) for step in life}
    assert seen - {None} == expected


def test_a_look_up_is_pending_at_1_without_an_error_and_then_reachable_at_1_with_0() -> None:
    lives = lives_of(HLR, 2000)
    pending = [life for life in lives if life[2:] and life[2][1:] == (1, None)]
    assert len(pending) > 1800
    assert not any(is_over(HLR, life[2]) for life in pending)
    assert sum(life[-1][1:] == (1, 0) for life in lives) > 1400
    assert all(is_over(HLR, life[-1]) for life in lives)


def test_a_ping_ends_as_a_look_up_does() -> None:
    lives = lives_of(5, 500)
    assert all(is_over(5, life[-1]) for life in lives)
    assert sum(life[-1][1:] == (1, 0) for life in lives) > 300


def test_e_mails_are_read_and_their_links_followed() -> None:
    last = Counter(life[-1].status for life in lives_of(EMAIL, 5000))
    assert last[2] > 1000
    assert last[4] > 100


def test_calls_are_never_clicked() -> None:
    assert not any(step.status in (2, 4) for life in lives_of(CALL, 5000) for step in life)


def test_an_explicit_life_is_kept_as_it_is() -> None:
    life = explicit_life(((0, -1), [2, 0], (2, 20, 255)))
    assert life == (Step(0, -1), Step(2, 0), Step(2, 20, 255))


@pytest.mark.parametrize("steps", [((0,),), ((None, 1),), ((0, None),), ((0, 1, 2, 3),), ((5, 0), (4, 1))])
def test_an_explicit_life_of_another_form_is_refused(steps: tuple[tuple[float | None, ...], ...]) -> None:
    with pytest.raises(ConfigError, match="of a life: expected"):
        explicit_life(steps)


def test_a_step_begins_at_its_instant() -> None:
    life = explicit_life(((1, 0), (5, 1)))
    assert [step_at(life, age).status for age in (-10, 0.999, 1, 4.999, 5, 1e9)] == [-1, -1, 0, 0, 1, 1]


def test_the_last_of_two_steps_at_one_instant_counts() -> None:
    assert step_at(explicit_life(((1, 0), (1, 1))), 1).status == 1
