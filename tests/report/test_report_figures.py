"""The figures, counted from rows."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_support import SENT, figures_of, row

from smsc_status import codes
from smsc_status.codes import Channel, Status
from smsc_status.report._counting import figures as figures_module
from smsc_status.report._counting import tallies
from smsc_status.report._counting.figures import Figures, Reason
from smsc_status.report._counting.tallies import ByName, Group, Tally


def counts(tally: Tally | None) -> dict[str, int]:
    assert tally is not None
    return {group.value: count for group, count in tally.counts.items() if count}


def test_every_status_is_in_one_group() -> None:
    """Not found is unknown, and so is what no vendor's page lists on the way."""
    found = figures_of(*(row(status, id=int(status)) for status in Status), row(99, id=99))
    delivered = sum(status in codes.DELIVERED for status in Status)
    final = sum(codes.is_final(status) for status in Status)
    assert counts(found.messages) == {"delivered": delivered, "failed": final - delivered, "open": 4, "unknown": 1}
    assert found.messages.total == len(Status) + 1
    assert found.statuses == Counter({**dict.fromkeys(map(int, Status), 1), 99: 1})


def test_a_message_whose_check_failed_is_unknown_and_so_is_its_status() -> None:
    found = figures_of(row(None, error="Archived"), row(0, error="TrackingTimeout"), row(None))
    assert counts(found.messages) == {"unknown": 2, "open": 1}
    assert found.statuses == {None: 1}
    assert {name: sums.count for name, sums in found.errors.items()} == {"Archived": 1, "TrackingTimeout": 1}
    assert not found.reasons


def test_messages_are_counted_by_all_that_is_known_of_them() -> None:
    found = figures_of(
        row(1, operator="МТС", sender_id="A", channel=Channel.SMS),
        row(20, err=6, operator="МТС", sender_id="B", channel=Channel.SMS),
        row(20, err=1, phone="a@b.c", channel=Channel.EMAIL, sent_at=SENT + timedelta(days=1)),
        row(0, channel=Channel.VIBER, sent_at=None, changed_at=None, sender_id="", operator=""),
    )
    assert counts(found.by_operator.get("МТС")) == {"delivered": 1, "failed": 1}
    assert len(found.by_operator) == 1
    assert {name: tally.total for name, tally in found.by_sender.items()} == {"A": 1, "B": 1}
    assert {name: tally.total for name, tally in found.by_channel.items()} == {
        Channel.SMS: 2,
        Channel.EMAIL: 1,
        Channel.VIBER: 1,
    }
    assert {day: tally.total for day, tally in found.by_day.items()} == {date(2026, 3, 10): 2, date(2026, 3, 11): 1}
    assert found.reasons == {Reason(20, 6, is_email=False): 1, Reason(20, 1, is_email=True): 1}
    assert (found.first_sent_at, found.last_sent_at) == (SENT, SENT + timedelta(days=1))


def test_a_day_is_that_of_the_zone() -> None:
    """At 22:30 UTC, it is the next day in Moscow."""
    found = figures_of(row(sent_at=SENT.replace(hour=22, minute=30)))
    assert list(found.by_day) == list(found.times_by_day) == [date(2026, 3, 11)]


@given(st.lists(st.decimals(-(10**9), 10**9, places=6), max_size=50))
def test_costs_are_added_exactly(costs: list[Decimal]) -> None:
    """As integers are, of the smallest unit."""
    rows = [row(1 if number % 2 else 20, id=number, cost=cost) for number, cost in enumerate(costs)]
    found = figures_of(*rows).messages.costs
    assert int(found.total.scaleb(6)) == sum(int(cost.scaleb(6)) for cost in costs)
    assert int(found.of_delivered.scaleb(6)) == sum(int(cost.scaleb(6)) for cost in costs[1::2])
    assert (found.messages, found.delivered) == (len(costs), len(costs[1::2]))


def test_the_largest_and_the_smallest_cost_add_up_exactly() -> None:
    """A double, and even a decimal of the usual length, would lose the small one."""
    found = figures_of(row(id=1, cost=Decimal("9" * 20)), row(id=2, cost=Decimal("1E-20"))).messages.costs
    assert str(found.total) == "99999999999999999999.00000000000000000001"


def test_a_time_of_delivery_is_from_sending_to_the_status_delivered() -> None:
    """Not to that of reading, and not of what was not delivered."""
    found = figures_of(
        row(1, 10, operator="МТС"),
        row(1, 30),
        row(2, 5000),
        row(20, 7),
        row(1, type=5),
        row(1, sent_at=None, changed_at=None),
        row(1, changed_at=None),
        row(1, -5),
    )
    assert found.times.curve() == [(10.0, 0.5), (30.0, 1.0)]
    assert [(name, times.count) for name, times in found.times_by_operator.items()] == [("МТС", 1)]
    assert [times.count for _, times in found.times_by_day.items()] == [2]


def test_the_slowest_deliveries_are_kept_the_slowest_first() -> None:
    """And of those that took as long, those that came first."""
    took = [5, 900, 20, 900, 1, 40, 40, 40, 40, 40, 40, 40, 40, 3000]
    found = figures_of(*(row(1, seconds, id=id) for id, seconds in enumerate(took)))
    assert [(slow.seconds, slow.row.id) for slow in found.slowest] == [
        (3000, 13), (900, 1), (900, 3), (40, 5), (40, 6), (40, 7), (40, 8), (40, 9), (40, 10), (40, 11),
    ]  # fmt: skip


def test_look_ups_are_counted_apart() -> None:
    hlr: dict[str, Any] = {"channel": Channel.HLR, "cost": Decimal("0.3")}
    found = figures_of(
        row(1, err=0, operator="МТС", **hlr),
        row(20, err=1, operator="МТС", **hlr),
        row(0, **hlr),
        row(-3, **hlr),
        row(None, error="Archived", channel=Channel.HLR),
    )
    look_ups = found.look_ups
    assert found.messages.total == 0
    assert (look_ups.reachable, look_ups.unreachable, look_ups.open, look_ups.unknown) == (1, 1, 1, 2)
    assert look_ups.total == found.counted == 5
    assert (look_ups.costs.total, look_ups.costs.of_delivered) == (Decimal("1.2"), Decimal("0.3"))
    assert [(name, one.total) for name, one in found.look_ups_by_operator.items()] == [("МТС", 2)]
    assert found.first_sent_at is None


def test_what_is_kept_of_many_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first names are counted apart, all further ones together, and none is lost."""
    monkeypatch.setattr(tallies, "MOST_NAMES", 3)
    found = figures_of(*(row(id=id, operator=f"operator {id}") for id in range(20)))
    assert list(found.by_operator) == ["operator 0", "operator 1", "operator 2"]
    assert found.by_operator.others is not None
    assert found.by_operator.others.total == 17
    assert found.by_operator.get("operator 5") is None


def test_what_is_kept_of_a_long_name_is_bounded() -> None:
    """Names that are alike so far are one."""
    long = [row(id=id, operator="x" * (1000 + id), sender_id="y" * (1000 + id)) for id in range(3)]
    found = figures_of(*long)
    for names in (found.by_operator, found.by_sender, found.times_by_operator):
        assert [len(name) for name in names] == [100]


def test_however_many_kinds_of_rows_there_are_only_some_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(status % 30, id=status, err=status) for status in range(200)]
    expected = figures_of(*rows)
    monkeypatch.setattr(figures_module, "MOST_KINDS", 10)
    found = Figures(zone=expected.zone)
    for one in rows:
        found.take(one, 1)
        # A bound of the memory, which nothing outside tells.
        assert len(found._sums) <= 10
    found.finish()
    assert (found.messages, found.statuses, found.reasons) == (expected.messages, expected.statuses, expected.reasons)


def test_tallies_add_up() -> None:
    first, second = figures_of(row(1, cost=Decimal(1))).messages, figures_of(row(20, cost=Decimal(2))).messages
    first.add(second)
    assert counts(first) == {"delivered": 1, "failed": 1}
    assert (first.costs.total, first.costs.messages, first.of(Group.FAILED)) == (Decimal(3), 2, 1)


def test_names_are_kept_in_the_order_in_which_they_came() -> None:
    names: ByName[str, Tally] = ByName(Tally)
    assert names.at("b") is names.at("b")
    names.at("a")
    assert (list(names), len(names), names.others) == (["b", "a"], 2, None)
