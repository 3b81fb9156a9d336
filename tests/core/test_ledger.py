"""What the shared log means: replicas are equal, the vendor's rule is kept, and everybody has a turn."""

from __future__ import annotations

from math import inf

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsc_status import ConfigError, Limits
from smsc_status._core.scheduling import ledger as records
from smsc_status._core.scheduling.ledger import Entry, Ledger, Quarantine, Record, Waits, decode, encode
from smsc_status._core.scheduling.pacing import BULK, Pacer, RequestEnd
from smsc_status._core.scheduling.shared_pacer import SharedPacer
from smsc_status.models import Key

LIMITS = Limits(period=6.0, margin=0.5, linger=2.0, checks_per_id=3, connections=3)
IDS: tuple[Key, ...] = (1, "a", 10**30)
BUDGETS = (3.0, 5.0)


class Log:
    """A log that is written by hand."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.entries: list[Entry] = []
        self.ledger = Ledger(limits)

    def add(self, record: Record, at: float) -> int:
        entry = Entry(len(self.entries) + 1, at, encode(record))
        self.entries.append(entry)
        self.ledger.apply(entry)
        return entry.number

    def join(self, at: float = 0.0, *, name: str = "host/1", budget: float = 3.0) -> int:
        return self.add(records.joined(who=0, name=name, limits=self.ledger.limits, budget=budget), at)

    def take(
        self,
        who: int,
        serial: int,
        at: float,
        keys: tuple[Key, ...] = (1,),
        *,
        bulk: bool = False,
        budget: float = 3.0,
        after: tuple[int, RequestEnd] | None = None,
    ) -> None:
        self.add(records.took(who=who, serial=serial, budget=budget, bulk=bulk, keys=keys, after=after), at)

    def end(self, who: int, serial: int, at: float, how: RequestEnd = RequestEnd.REPLIED) -> None:
        self.add(records.ended(who=who, serial=serial, how=how), at)

    def wait(self, who: int, at: float, *, slot: bool = True, urgent: bool = False, bulk: bool = False) -> None:
        self.add(Waits(who, slot, urgent, bulk), at)


@pytest.mark.parametrize(
    "record",
    [
        records.joined(who=0, name="host/1", limits=Limits(), budget=30.0),
        records.took(who=1, serial=7, budget=30.0, bulk=True, keys=(5, 2**64 - 1, 2**64, 10**39, "a-b.c_1")),
        records.took(who=1, serial=8, budget=30.0, bulk=False, keys=(5,), after=(7, RequestEnd.REPLIED)),
        records.ended(who=1, serial=7, how=RequestEnd.ABANDONED),
        Waits(1, True, False, True),
        Quarantine(101.0, "the server was restarted"),
    ],
)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    assert decode(encode(record)) == record


def test_a_request_takes_42_bytes_and_an_id_of_a_bulk_request_12() -> None:
    one = encode(records.took(who=200, serial=5_000, budget=30.0, bulk=False, keys=(4_000_000_000,)))
    many = encode(records.took(who=200, serial=5_000, budget=30.0, bulk=True, keys=range(4 * 10**9, 4 * 10**9 + 1000)))
    end = encode(records.ended(who=200, serial=5_000, how=RequestEnd.REPLIED))
    assert len(one) + len(end) <= 42
    assert len(many) <= 12_000


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "can't be read"),
        (b"\xff", "can't be read"),
        (b"\x92\x63\x01", "Invalid value 99"),
        (encode(records.Joined(records.VERSION + 1, 0, "x", (1,), 1.0)), "of version 3: expected 2"),
    ],
)
def test_a_record_of_another_version_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Ledger(LIMITS).apply(Entry(1, 0.0, data))


def test_processes_with_other_limits_are_refused_by_name_and_number() -> None:
    log = Log()
    log.join(name="host/77")
    other = Ledger(attrs.evolve(LIMITS, period=7.0, connections=2))
    for entry in log.entries:
        other.apply(entry)
    what = "host/77 shares this account with period 6 and not 7, connections 3 and not 2"
    with pytest.raises(ConfigError, match=what):
        other.check_limits(now=1.0)
    log.ledger.check_limits(now=1.0)
    other.check_limits(now=other.horizon)  # by then it has no request that matters


def test_what_is_each_process_own_may_differ() -> None:
    log = Log()
    log.join()
    other = Ledger(attrs.evolve(LIMITS, max_bulk=10, singles_per_minute=5))
    other.apply(log.entries[0])
    other.check_limits(now=1.0)


def test_a_request_that_nobody_ended_is_abandoned_when_its_budget_is_over() -> None:
    log = Log()
    who = log.join()
    log.take(who, 1, 10.0)
    ledger = log.ledger
    ledger.advance(12.9)
    assert ledger.is_open(who, 1)
    assert ledger.next_end_at() == 13.0
    ledger.advance(13.0)
    assert not ledger.is_open(who, 1)
    assert ledger.next_end_at() == inf
    assert ledger.pacer.free_slots(now=14.9) == 2
    assert ledger.pacer.free_slots(now=15.0) == 3
    assert ledger.pacer.tokens(1, now=21.4) == 2
    assert ledger.pacer.tokens(1, now=21.5) == 3
    log.end(who, 1, 14.0)  # comes too late, and changes nothing
    assert ledger.pacer.tokens(1, now=21.4) == 2


def test_a_request_may_tell_how_the_one_before_has_ended() -> None:
    """As if an entry of its own with the same stamp had told it."""
    log, apart = Log(), Log()
    who = log.join()
    log.take(who, 1, 10.0)
    log.take(who, 2, 11.0, after=(1, RequestEnd.REPLIED))
    apart.join()
    apart.take(who, 1, 10.0)
    apart.end(who, 1, 11.0)
    apart.take(who, 2, 11.0)
    assert not log.ledger.is_open(who, 1)
    for one in (log, apart):
        one.ledger.advance(40.0)
    for now in (11.5, 14.0, 16.0, 17.4, 17.6, 20.0, 25.0, 40.0):
        for question in (Pacer.free_slots, lambda pacer, now: pacer.tokens(1, now=now)):
            assert question(log.ledger.pacer, now=now) == question(apart.ledger.pacer, now=now)


@pytest.mark.parametrize("instants", [[14.0, 14.9, 15.0], [14.0], [15.0]])
@pytest.mark.parametrize("starts", [[(11.0, 3.0), (11.0, 4.0)], [(10.0, 5.0), (11.0, 3.0)]])
def test_requests_are_abandoned_when_their_own_budgets_end(
    starts: list[tuple[float, float]], instants: list[float]
) -> None:
    """In whatever order they began, and whether the ledger is told of each instant or only of the last one."""
    log = Log()
    who = log.join()
    for serial, (at, budget) in enumerate(starts):
        log.take(who, serial, at, (serial,), budget=budget)
    ledger = log.ledger
    assert ledger.next_end_at() == 14.0
    for now in instants:
        ledger.advance(now)
    assert ledger.next_end_at() == (15.0 if instants == [14.0] else inf)
    ledger.advance(15.0)
    assert [ledger.pacer.free_slots(now=now) for now in (15.9, 16.0, 16.9, 17.0)] == [1, 2, 2, 3]


def test_what_is_known_up_to_an_instant_stays_known() -> None:
    ledger = Ledger(LIMITS)
    ledger.advance(5.0)
    ledger.advance(4.0)
    assert ledger.at == 5.0


def test_a_process_is_active_until_its_last_request_does_not_matter_any_more() -> None:
    log = Log()
    who = log.join()
    log.take(who, 1, 9.0)
    log.take(who, 2, 9.0, (2,))
    log.end(who, 1, 10.0, RequestEnd.ABANDONED)
    log.end(who, 2, 11.0)
    assert log.ledger.horizon == 11.5
    assert [member.who for member in log.ledger.active(now=18.4)] == [who]
    assert not log.ledger.active(now=18.5)


def test_the_longest_budget_of_all_requests_counts() -> None:
    log = Log()
    who = log.join(budget=3.0)
    log.take(who, 1, 1.0, budget=5.0)
    log.take(who, 2, 1.0, (2,), budget=4.0)
    assert log.ledger.longest_budget == 5.0


def test_a_request_is_abandoned_though_one_with_an_earlier_end_was_answered() -> None:
    log = Log()
    who = log.join()
    log.take(who, 1, 10.0, (1,), budget=3.0)
    log.take(who, 2, 10.0, (2,), budget=5.0)
    log.end(who, 1, 11.0)
    ledger = log.ledger
    for now, end_at in ((11.0, 15.0), (13.0, 15.0), (14.9, 15.0), (15.0, inf)):
        ledger.advance(now)
        assert ledger.next_end_at() == end_at


def test_nothing_starts_in_a_quarantine() -> None:
    log = Log()
    who = log.join()
    log.add(Quarantine(20.0, "lost"), 100.0)
    pacer = SharedPacer(log.ledger, who, LIMITS)
    assert pacer.free_slots(now=119.9) == pacer.tokens(1, now=119.9) == 0
    for due_at in (pacer.slot_due_at, pacer.bulk_due_at, pacer.singles_due_at):
        assert due_at(now=101.0) == 120.0
    assert pacer.due_at(1, now=101.0) == 120.0
    assert not pacer.is_idle(now=119.0)
    assert pacer.is_idle(now=120.0)
    assert pacer.free_slots(now=120.0) == pacer.tokens(1, now=120.0) == 3


def test_instants_are_on_the_process_own_clock() -> None:
    log = Log()
    who = log.join(1000.0)
    pacer = SharedPacer(log.ledger, who, LIMITS)
    pacer.offset = 1000.0
    log.take(who, 1, 1001.0, (1,), bulk=True)
    log.end(who, 1, 1002.0)
    assert pacer.bulk_due_at(now=3.0) == 8.5
    assert len(pacer) == 2
    assert pacer.refunds == 0
    assert pacer.open_requests == 0


def test_each_process_has_its_own_limit_on_single_requests() -> None:
    log = Log()
    who = log.join()
    capped = SharedPacer(log.ledger, who, attrs.evolve(LIMITS, singles_per_minute=1))
    free = SharedPacer(log.ledger, who, LIMITS)
    capped.started((1,), False, 1.0)
    free.started((1,), False, 1.0)
    capped.finished((1,), False, RequestEnd.REFUSED, 2.0)
    free.finished((1,), False, RequestEnd.REFUSED, 2.0)
    capped.started((1, 2), True, 2.0)
    capped.finished((1, 2), True, RequestEnd.REPLIED, 2.0)
    assert (capped.singles_due_at(now=3.0), free.singles_due_at(now=3.0)) == (8.5, 3.0)


@given(st.floats(0, 1e5), st.floats(-1e5, 1e5))
def test_what_may_start_may_start_at_exactly_this_instant(now: float, offset: float) -> None:
    pacer = SharedPacer(Ledger(LIMITS), 1, LIMITS)
    pacer.offset = offset
    assert pacer.slot_due_at(now=now) == pacer.bulk_due_at(now=now) == now
    assert pacer.singles_due_at(now=now) == pacer.due_at(7, now=now) == now


# Whose turn is it?


def free(log: Log, who: int, now: float, *, urgent: bool = False) -> int:
    pacer = SharedPacer(log.ledger, who, log.ledger.limits)
    pacer.is_urgent = urgent
    return pacer.free_slots(now=now)


def test_a_free_slot_is_left_to_a_process_with_a_caller() -> None:
    log = Log()
    greedy, web = log.join(), log.join()
    log.take(greedy, 1, 1.0)
    log.take(greedy, 2, 1.0, (2,))
    log.wait(web, 1.0, urgent=True)
    assert free(log, greedy, 1.0) == 0
    assert free(log, web, 1.0, urgent=True) == 1
    pacer = SharedPacer(log.ledger, greedy, LIMITS)
    assert pacer.slot_due_at(now=1.0) == 3.0  # the ticket expires
    assert free(log, greedy, 3.0) == 1
    log.wait(web, 2.0, slot=False)
    assert free(log, greedy, 2.0) == 1


def test_of_two_processes_with_callers_the_one_that_has_waited_longer_goes_first() -> None:
    log = Log()
    one, other = log.join(), log.join()
    log.take(one, 1, 0.5)
    log.take(one, 2, 0.5, (2,))
    log.end(one, 1, 0.9)
    log.end(one, 2, 0.9)
    log.take(99, 1, 0.9, (3,))
    log.take(99, 2, 0.9, (4,))
    log.wait(other, 1.0, urgent=True)
    log.wait(one, 1.1, urgent=True)
    assert free(log, one, 1.2, urgent=True) == 0
    assert free(log, other, 1.2, urgent=True) == 1
    assert log.ledger.members[99].name == "?"  # its first record has been dropped


def test_a_process_keeps_its_slots_until_another_has_waited_a_second_longer() -> None:
    log = Log()
    one, other = log.join(), log.join()
    for serial in (1, 2, 3):
        log.take(one if serial < 2 else other, serial, 1.0, (serial,))
    log.wait(one, 1.0)
    log.end(other, 3, 1.5)
    assert free(log, other, 1.5) == 1
    log.take(other, 4, 1.5, (4,))
    log.wait(one, 1.9)
    log.end(other, 4, 1.9)
    assert free(log, other, 1.9) == 1  # as many open requests, and the other has waited 0.9 s longer
    log.take(other, 5, 1.9, (5,))
    log.end(other, 5, 2.1)
    assert free(log, other, 2.1) == 0


def test_a_ticket_counts_even_if_its_process_is_not_known_any_more() -> None:
    log = Log()
    one = log.join()
    log.take(one, 1, 1.0)
    log.take(one, 2, 1.0, (2,))
    log.wait(99, 1.0)
    assert free(log, one, 1.0) == 0


def test_a_process_with_fewer_requests_open_goes_first() -> None:
    log = Log()
    one, other = log.join(), log.join()
    log.take(one, 1, 1.0)
    log.take(one, 2, 1.0, (2,))
    log.wait(other, 1.0)
    assert free(log, one, 1.0) == 0
    assert free(log, other, 1.0) == 1


def test_the_bulk_slot_goes_to_the_process_that_used_it_longest_ago() -> None:
    log = Log()
    one, other = log.join(), log.join()
    log.take(one, 1, 1.0, bulk=True)
    log.end(one, 1, 1.0)
    log.wait(one, 7.0, slot=False, bulk=True)
    log.wait(other, 7.1, slot=False, bulk=True)
    first, second = (SharedPacer(log.ledger, who, LIMITS) for who in (one, other))
    assert first.bulk_due_at(now=7.5) == 9.1  # the other's ticket expires
    assert second.bulk_due_at(now=7.5) == 7.5


def test_a_renewed_ticket_keeps_its_place_and_an_expired_one_does_not() -> None:
    log = Log()
    who = log.join()
    log.wait(who, 1.0)
    log.wait(who, 2.0)
    ticket = log.ledger.ticket(who)
    assert ticket is not None
    assert (ticket.since, ticket.expires_at) == (1.0, 4.0)
    log.wait(who, 5.0)
    ticket = log.ledger.ticket(who)
    assert ticket is not None
    assert ticket.since == 5.0


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 2), st.sampled_from([0.0, 0.4, 0.8, 1.2, 2.5])),
        min_size=1,
    )
)
def test_of_those_that_wait_there_is_one_that_need_not_wait_for_the_others(
    waits: list[tuple[int, bool, int, float]],
) -> None:
    log = Log(Limits(connections=100))
    processes = [log.join() for _ in range(4)]
    at, serial = 0.0, 0
    for number, urgent, takes, pause in waits:
        at += pause
        for _ in range(takes):
            serial += 1
            log.take(processes[number], serial, at, (serial,))
        log.wait(processes[number], at, urgent=urgent)
    waiting = {processes[number]: urgent for number, urgent, *_ in waits}
    valid = {who: urgent for who, urgent in waiting.items() if is_valid(log.ledger, who, at)}
    ahead = [log.ledger.tickets_ahead(who, urgent=urgent, now=at) for who, urgent in valid.items()]
    assert any(not tickets for tickets in ahead)


def is_valid(ledger: Ledger, who: int, now: float) -> bool:
    ticket = ledger.ticket(who)
    return ticket is not None and ticket.expires_at > now


# Random histories.


@attrs.define
class Sent:
    """A request as the server may see it: it arrives between these two instants."""

    keys: tuple[Key, ...]
    bulk: bool
    earliest: float
    latest: float = inf


def broken(sent: list[Sent], limits: Limits) -> list[str]:
    """What a server could complain of, if each request arrives at the worst moment."""
    found = []
    for one in sent:
        before = [other for other in sent if other.earliest <= one.earliest]
        if sum(other.latest > one.earliest for other in before) > limits.connections:
            found.append(f"too many open at {one.earliest}")
        near = [other for other in before if other.latest > one.earliest - limits.period]
        if one.bulk and sum(other.bulk for other in near) > limits.bulk_requests:
            found.append(f"too many bulk requests at {one.earliest}")
        found += [
            f"too many for {key} at {one.earliest}"
            for key in one.keys
            if sum(key in other.keys for other in near) > limits.checks_per_id
        ]
    return found


Step = tuple[str, int, int, float]
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["take", "take", "take", "bulk", "reply", "late", "abandon", "refuse", "unsent", "ask", "wait"]
        ),
        st.integers(0, 2),
        st.integers(0, 7),
        st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0, 3.0, 7.0]),
    ),
    max_size=60,
)
ENDS = {
    "reply": RequestEnd.REPLIED,
    "late": RequestEnd.REPLIED,
    "abandon": RequestEnd.ABANDONED,
    "refuse": RequestEnd.REFUSED,
    "unsent": RequestEnd.NOT_SENT,
}


def answers(ledger: Ledger, now: float) -> list[float]:
    pacer: Pacer = ledger.pacer
    found: list[float] = [pacer.free_slots(now=now), pacer.slot_due_at(now=now), pacer.bulk_due_at(now=now)]
    found += [pacer.singles_due_at(now=now), pacer.open_requests, ledger.next_end_at()]
    for key in (*IDS, BULK):
        found += [pacer.tokens(key, now=now), pacer.due_at(key, now=now), pacer.due_at(key, spare=1, now=now)]
    return found


def play(steps: list[Step]) -> tuple[Log, list[Ledger], list[Sent], float]:
    """Three processes, each with a replica that may be behind. A request is appended only to what its process read."""
    log = Log()
    replicas = [Ledger(LIMITS) for _ in range(3)]
    members = [log.join(budget=BUDGETS[number % 2]) for number in range(3)]
    open_requests: list[tuple[int, int, Sent]] = []
    sent: list[Sent] = []
    untold: dict[int, tuple[int, RequestEnd]] = {}  # by process: the end that its next request tells
    now, serial = 0.0, 0
    for what, number, choice, pause in steps:
        now += pause
        for request in [each for each in open_requests if each[2].latest <= now]:
            open_requests.remove(request)
        replica, who, budget = replicas[number], members[number], BUDGETS[number % 2]
        if what in ("take", "bulk"):
            keys = tuple(key for bit, key in enumerate(IDS) if (choice + 1) >> bit & 1) or IDS
            keys = keys if what == "bulk" else keys[:1]
            for entry in log.entries[replica.number :]:
                replica.apply(entry)
            replica.advance(now)
            pacer = SharedPacer(replica, who, LIMITS)
            lane_at = pacer.bulk_due_at(now=now) if what == "bulk" else pacer.singles_due_at(now=now)
            if lane_at <= now and pacer.free_slots(now=now) > 0 and all(pacer.tokens(key, now=now) for key in keys):
                serial += 1
                log.take(who, serial, now, keys, bulk=what == "bulk", budget=budget, after=untold.pop(who, None))
                # If nobody ends it, its last byte leaves before its budget is over, and arrives within a linger.
                one = Sent(keys, what == "bulk", now, now + budget + LIMITS.linger)
                sent.append(one)
                open_requests.append((who, serial, one))
        elif what in ENDS and open_requests:
            who, ended_serial, one = open_requests.pop(choice % len(open_requests))
            if now < one.latest - LIMITS.linger:
                one.latest = now + (LIMITS.linger if what == "abandon" else 0.0)
                if what == "late" and who not in untold:
                    untold[who] = ended_serial, RequestEnd.REPLIED
                else:
                    log.end(who, ended_serial, now, ENDS[what])
                if what == "unsent":
                    sent.remove(one)
        elif what == "ask":
            answers(replica, now)
        elif what == "wait":
            log.wait(who, now, urgent=bool(choice & 1), bulk=bool(choice & 2))
    return log, replicas, sent, now


def ends_of_budgets(log: Log, now: float) -> list[float]:
    """When the budgets end of the requests that are in flight."""
    written = [(entry.at, decode(entry.data)) for entry in log.entries]
    ended = {(record.who, record.serial) for _, record in written if isinstance(record, records.Ended)}
    ended |= {(took.who, took.after[0]) for _, took in written if isinstance(took, records.Took) and took.after}
    ends = [
        at + record.budget
        for at, record in written
        if isinstance(record, records.Took) and (record.who, record.serial) not in ended
    ]
    return [end for end in ends if end > now]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(steps)
def test_the_server_never_sees_more_than_the_vendor_allows(steps: list[Step]) -> None:
    _, _, sent, _ = play(steps)
    assert broken(sent, LIMITS) == []


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(steps, st.floats(0, 20))
def test_replicas_of_the_same_log_give_the_same_answers(steps: list[Step], later: float) -> None:
    """Each is told of other instants. They also know which requests are in flight, as a plain look at the log says."""
    log, replicas, _, now = play(steps)
    now += later
    fresh = Ledger(LIMITS)
    replicas = [*replicas, log.ledger, fresh]
    for replica in replicas:
        for entry in log.entries[replica.number :]:
            replica.apply(entry)
        replica.advance(now)
    assert [answers(replica, now) for replica in replicas] == [answers(fresh, now)] * len(replicas)
    assert fresh.next_end_at() == min(ends_of_budgets(log, now), default=inf)
    assert fresh.pacer.open_requests == len(ends_of_budgets(log, now))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(steps, st.floats(0, 20))
def test_entries_that_are_not_needed_change_no_answer(steps: list[Step], later: float) -> None:
    log, _, _, now = play(steps)
    now += later
    ledger = log.ledger
    ledger.advance(now)
    short = Ledger(LIMITS)
    for entry in log.entries:
        if entry.number >= ledger.first_needed(now=now):
            short.apply(entry)
    short.advance(now)
    expected = answers(ledger, now)
    ledger.forget(now=now)
    assert answers(short, now) == answers(ledger, now) == expected
    assert ledger.number in (0, short.number)


def first_kept(log: Log, *, now: float) -> float:
    """When the first entry happened that is needed."""
    return log.entries[log.ledger.first_needed(now=now) - 1].at


def test_an_answered_request_is_needed_until_its_tokens_are_back() -> None:
    """It is dropped together with those within a second. What it used, nobody else needs to know by then."""
    log = Log()
    who = log.join()
    for serial in range(1, 200):
        at = float(serial)
        log.take(who, serial, at, (serial,))
        log.end(who, serial, at + 0.5)
        log.add(records.joined(who=who, name="host/1", limits=LIMITS, budget=3.0), at + 0.5)
    assert LIMITS.period + LIMITS.margin == 6.5
    assert first_kept(log, now=199.9) == 193.0
    assert first_kept(log, now=200.1) == 194.0
    log.ledger.forget(now=200.1)
    assert first_kept(log, now=200.1) == 194.0
    assert set(log.ledger.members) == {who}
    log.ledger.forget(now=300.0)
    assert not log.ledger.members
    assert log.ledger.first_needed(now=300.0) == log.ledger.number


@pytest.mark.parametrize(
    ("how", "seconds"),
    [
        (RequestEnd.REPLIED, 6.5),
        (RequestEnd.ABANDONED, 8.5),
        (RequestEnd.REFUSED, 13.0),
        (RequestEnd.NOT_SENT, 0.0),
    ],
)
def test_how_long_a_request_is_needed_after_its_end(how: RequestEnd, seconds: float) -> None:
    log = Log()
    log.take(7, 1, 10.0)
    log.end(7, 1, 12.0, how)
    log.end(7, 99, 12.5)
    log.end(7, 99, 14.0)  # the last entry, which is always kept
    assert first_kept(log, now=12.0 + seconds - 0.1) == 10.0
    assert first_kept(log, now=12.0 + seconds + 0.1) == 14.0


def test_an_open_request_is_needed_until_the_tokens_are_back_that_it_loses_with_its_budget() -> None:
    log = Log()
    log.take(7, 1, 10.0, budget=5.0)
    log.end(7, 99, 30.0)
    for now, at in ((14.9, 10.0), (15.0 + 2.0 + 6.4, 10.0), (15.0 + 2.0 + 6.6, 30.0)):
        log.ledger.advance(now)
        assert first_kept(log, now=now) == at


def test_tickets_quarantines_and_the_last_joined_of_an_active_process_are_needed() -> None:
    log = Log()
    who = log.join(10.0)
    log.wait(who, 21.5)
    log.add(Quarantine(5.0, "a test"), 23.0)
    log.end(who, 99, 30.0)
    assert log.ledger.horizon == 11.5
    for now, at in ((21.4, 10.0), (23.4, 21.5), (27.9, 23.0), (28.1, 30.0)):
        assert first_kept(log, now=now) == at


def test_a_newcomer_knows_whose_turn_with_the_bulk_slot_it_is() -> None:
    """The entry of the last bulk request was dropped. Its process says again when that was."""
    log = Log()
    who = log.join()
    log.take(who, 1, 1.0, bulk=True)
    log.end(who, 1, 1.5)
    last_bulk_at = log.ledger.members[who].last_bulk_at
    log.add(records.joined(who=who, name="host/1", limits=LIMITS, budget=3.0, last_bulk_at=last_bulk_at), 8.0)
    first = log.ledger.first_needed(now=9.0)
    assert log.entries[first - 1].at == 8.0
    newcomer = log.join(9.0, name="host/2")
    log.wait(who, 9.1, slot=False, bulk=True)
    log.wait(newcomer, 9.2, slot=False, bulk=True)
    short = Ledger(LIMITS)
    for entry in log.entries[first - 1 :]:
        short.apply(entry)
    assert short.bulk_tickets_ahead(newcomer, now=9.3) == []
    assert log.ledger.bulk_tickets_ahead(who, now=9.3) == [9.2 + records.TICKET_SECONDS]
