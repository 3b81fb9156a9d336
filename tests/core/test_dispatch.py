"""Which checks go next: tables of single situations, and random ones against an oracle that reads the rules."""

from __future__ import annotations

import math
import weakref

import pytest
from dispatch_support import NOW, check_of, drained, end, mailing, sizes, start_all, used, waiting, without_bulk_slot

from smsc_status._core.scheduling.checks import CheckState, PendingCheck
from smsc_status._core.scheduling.dispatch import Dispatcher
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status.models import Detail, Limits


class TestLanes:
    @pytest.mark.parametrize(
        ("count", "expected"), [(0, []), (1, [0]), (4, [0, 0, 0, 0]), (5, [5]), (1000, [1000]), (1003, [1000, 0, 0, 0])]
    )
    def test_more_messages_than_free_slots_go_in_bulk(self, count: int, expected: list[int]) -> None:
        """As many as there are free slots go singly; the rest goes in bulk."""
        dispatcher = waiting(*(check_of(id) for id in range(count)))
        assert sizes(start_all(dispatcher, Pacer(Limits()))) == expected
        assert dispatcher.waiting == 0

    def test_slots_in_use_leave_fewer_for_single_requests(self) -> None:
        """Two messages and one free slot: in bulk."""
        pacer = Pacer(Limits())
        for key in ("a", "b", "c"):
            pacer.started([key], bulk=False, now=NOW)
        dispatcher = waiting(check_of(1), check_of(2))
        assert sizes(start_all(dispatcher, pacer)) == [2]

    def test_nothing_goes_without_a_free_slot(self) -> None:
        """And only an event can change that."""
        pacer = Pacer(Limits(connections=1))
        pacer.started(["a"], bulk=False, now=NOW)
        dispatcher = waiting(check_of(1))
        assert dispatcher.take(pacer, now=NOW) is None
        assert dispatcher.due_at(pacer, now=NOW) == math.inf

    def test_the_instant_at_which_a_lingering_slot_comes_free_is_waited_for(self) -> None:
        """Its instant is known."""
        pacer = Pacer(Limits(connections=1))
        pacer.started(["a"], bulk=False, now=NOW)
        pacer.finished(["a"], bulk=False, how=RequestEnd.ABANDONED, now=NOW)
        dispatcher = waiting(check_of(1))
        assert dispatcher.take(pacer, now=NOW) is None
        assert dispatcher.due_at(pacer, now=NOW) == 110.0

    def test_singles_drain_the_queue_while_the_bulk_slot_is_out(self) -> None:
        """Four at a time."""
        dispatcher, pacer = waiting(*(check_of(id) for id in range(10))), without_bulk_slot()
        first = start_all(dispatcher, pacer)
        assert sizes(first) == [0, 0, 0, 0]
        assert dispatcher.due_at(pacer, now=NOW) == math.inf
        end(pacer, first)
        assert dispatcher.due_at(pacer, now=NOW) == NOW
        assert sizes(start_all(dispatcher, pacer)) == [0, 0, 0, 0]

    def test_a_closed_single_lane_leaves_all_to_the_bulk_lane(self) -> None:
        """A message alone goes as a bulk request of one."""
        pacer = Pacer(Limits(singles_per_minute=1))
        used(pacer, "other")
        dispatcher = waiting(check_of(1))
        (request,) = start_all(dispatcher, pacer)
        assert request.bulk
        assert request.keys == (1,)

    @pytest.mark.parametrize(("at_most", "expected"), [(1, 0), (4, 0), (5, 5), (9, 9)])
    def test_no_more_messages_are_taken_than_are_wanted(self, at_most: int, expected: int) -> None:
        """A few go singly even if many wait."""
        request = waiting(*(check_of(id) for id in range(10))).take(Pacer(Limits()), at_most=at_most, now=NOW)
        assert request is not None
        assert sizes([request]) == [expected]

    def test_with_both_lanes_closed_the_first_to_open_is_waited_for(self) -> None:
        """The first that opens is waited for."""
        pacer = Pacer(Limits(singles_per_minute=1))
        used(pacer, "other", at=90.0)
        used(pacer, "another", bulk=True)
        dispatcher = waiting(check_of(1))
        assert dispatcher.take(pacer, now=NOW) is None
        assert dispatcher.due_at(pacer, now=NOW) == 151.0
        assert sizes(start_all(dispatcher, pacer, 151.0)) == [0]

    def test_an_id_goes_once_however_many_messages_it_has(self) -> None:
        """A bulk request takes one token of each id."""
        (request, *_) = start_all(waiting(*mailing(7, 20), check_of("a")), Pacer(Limits()))
        assert request.bulk
        assert sorted(request.keys, key=str) == [7, "a"]
        assert len(request.checks) == 21

    def test_the_highest_level_is_asked_for(self) -> None:
        """One message that wants more gets it."""
        details = [Detail.BASIC, Detail.EXTENDED, Detail.FULL, Detail.BASIC, Detail.BASIC]
        (request,) = start_all(
            waiting(*(check_of(id, detail=detail) for id, detail in enumerate(details))), Pacer(Limits())
        )
        assert request.detail is Detail.EXTENDED


class TestOrder:
    def test_the_oldest_goes_first(self) -> None:
        """In both lanes, whatever the order in which they were put in."""
        ranks = [5.0, 3.0, 9.0, 1.0, 7.0, 0.5]
        dispatcher, pacer = waiting(*(check_of(int(10 * r), rank=r) for r in ranks)), without_bulk_slot()
        assert [request.checks[0].rank for request in start_all(dispatcher, pacer)] == [0.5, 1.0, 3.0, 5.0]
        dispatcher = waiting(*(check_of(int(10 * r), rank=r) for r in ranks), max_bulk=5)
        request = dispatcher.take(Pacer(Limits()), now=NOW)
        assert request is not None
        assert [one.rank for one in request.checks] == [0.5, 1.0, 3.0, 5.0, 7.0]

    def test_of_two_messages_of_one_age_the_first_to_come_goes_first(self) -> None:
        """Also within one id."""
        checks = [*mailing(7, 3), check_of(8), *mailing(9, 3)]
        request = waiting(*checks).take(Pacer(Limits()), now=NOW)
        assert request is not None
        assert list(request.checks) == checks

    def test_a_promoted_message_goes_first(self) -> None:
        """A second caller waits for it too, and its turn comes earlier."""
        checks = mailing(7, 3, rank=50.0)
        dispatcher, pacer = waiting(check_of(8, rank=40.0), *checks), without_bulk_slot()
        dispatcher.promote(checks[2], 10.0)
        dispatcher.promote(checks[2], 30.0)  # less of a hurry: nothing changes
        went = [request.checks[0] for request in start_all(dispatcher, pacer)]
        assert went[0] is checks[2]
        assert went[1].id == "8"
        assert went[2:] == checks[:2]

    def test_a_promotion_during_a_pause_counts_once_the_pause_is_over(self) -> None:
        """A message that pauses before a retry keeps its pause, and has its new turn after it."""
        dispatcher, pacer = waiting(check_of(8, rank=40.0)), without_bulk_slot()
        late = check_of(7, rank=50.0)
        dispatcher.add(late, due_at=NOW + 5)
        dispatcher.promote(late, 10.0)
        assert late.state is CheckState.BACKING_OFF
        assert dispatcher.start_at(late, pacer, now=NOW) == NOW + 5
        request = dispatcher.take(pacer, now=NOW + 5)
        assert request is not None
        assert request.checks == (late,)

    @pytest.mark.parametrize(
        ("tokens", "phones", "start_at"),
        [
            (1, 1, NOW),
            (1, 2, 151.0),  # the last token is kept for the bulk lane, and another comes back then
            (2, 3, NOW),
            (2, 2, NOW),
            (0, 1, 151.0),
            (0, 2, 151.0),
        ],
    )
    def test_a_single_request_leaves_a_token_to_the_bulk_lane(self, tokens: int, phones: int, start_at: float) -> None:
        """Where more messages of an id wait than it has tokens."""
        pacer = without_bulk_slot()
        used(pacer, 7, at=90.0)
        used(pacer, 7, times=4 - tokens, at=95.0)
        checks = mailing(7, phones)
        dispatcher = waiting(*checks)
        assert pacer.tokens(7, now=NOW) == tokens
        assert dispatcher.start_at(checks[0], pacer, now=NOW) == start_at

    def test_a_message_that_comes_back_keeps_its_turn(self) -> None:
        """A retry goes before what came later."""
        first = check_of(1, rank=1.0)
        dispatcher, pacer = waiting(first, check_of(2, rank=2.0)), without_bulk_slot()
        request = dispatcher.take(pacer, now=NOW)
        assert request is not None
        assert first.state is CheckState.IN_FLIGHT
        dispatcher.add(first)
        request = dispatcher.take(pacer, now=NOW)
        assert request is not None
        assert request.checks == (first,)

    def test_an_id_takes_the_turn_of_its_oldest_message(self) -> None:
        """Also if the oldest message came last."""
        dispatcher, pacer = waiting(check_of(7, "1", rank=50.0), check_of(8, rank=40.0)), without_bulk_slot()
        dispatcher.add(check_of(7, "2", rank=30.0))
        request = dispatcher.take(pacer, now=NOW)
        assert request is not None
        assert (request.checks[0].id, request.checks[0].phone) == ("7", "2")


class TestTokens:
    def test_singles_leave_one_token_for_the_bulk_lane(self) -> None:
        """While more of its messages wait than it has tokens: four of ten go by themselves, six stay for the slot."""
        dispatcher, pacer = waiting(*mailing(7, 10)), without_bulk_slot()
        end(pacer, start_all(dispatcher, pacer))
        assert start_all(dispatcher, pacer) == []
        assert pacer.tokens(7, now=NOW) == 1
        assert dispatcher.due_at(pacer, now=NOW) == 161.0
        assert sizes(start_all(dispatcher, pacer, 161.0)) == [6]

    def test_the_last_message_takes_the_last_token(self) -> None:
        """There is nothing to keep it for."""
        dispatcher, pacer = waiting(*mailing(7, 5)), without_bulk_slot()
        end(pacer, start_all(dispatcher, pacer))
        assert len(start_all(dispatcher, pacer)) == 1
        assert dispatcher.waiting == 0

    def test_a_kept_token_is_free_again_when_others_withdraw(self) -> None:
        """A held id is looked at anew when fewer of its messages wait."""
        checks = mailing(7, 2)
        dispatcher, pacer = waiting(*checks), without_bulk_slot()
        used(pacer, 7, times=4)
        assert dispatcher.take(pacer, now=NOW) is None
        dispatcher.withdraw(checks[0])
        request = dispatcher.take(pacer, now=NOW)
        assert request is not None
        assert request.checks == (checks[1],)

    def test_a_held_id_goes_singly_with_its_next_token(self) -> None:
        """It need not wait for the bulk slot."""
        dispatcher = waiting(*mailing(7, 3))
        pacer = Pacer(Limits())
        used(pacer, 7, times=4, at=70.0)
        used(pacer, "other", bulk=True)
        assert dispatcher.take(pacer, now=NOW) is None
        assert dispatcher.due_at(pacer, now=NOW) == 131.0
        assert sizes(start_all(dispatcher, pacer, 131.0)) == [0, 0, 0]

    @pytest.mark.parametrize("blocked", [1, 2, 50])
    def test_an_id_without_tokens_holds_up_nobody(self, blocked: int) -> None:
        """Those behind it go, in either lane."""
        pacer = Pacer(Limits())
        used(pacer, 7, times=5)
        for count, expected in [(3, [0, 0, 0]), (5, [5])]:
            dispatcher = waiting(*mailing(7, blocked), *(check_of(id) for id in range(10, 10 + count)))
            requests = start_all(dispatcher, pacer)
            assert sizes(requests) == expected
            assert 7 not in {key for request in requests for key in request.keys}
            assert dispatcher.waiting == blocked
            end(pacer, requests, RequestEnd.NOT_SENT)

    def test_a_blocked_id_is_looked_at_when_its_token_is_back(self) -> None:
        """Neither before nor after."""
        pacer = Pacer(Limits())
        used(pacer, 7, times=5, at=60.0)
        dispatcher = waiting(check_of(7))
        assert dispatcher.take(pacer, now=NOW) is None
        assert dispatcher.due_at(pacer, now=NOW) == 121.0
        assert dispatcher.take(pacer, now=120.9) is None
        assert dispatcher.take(pacer, now=121.0) is not None

    @pytest.mark.parametrize("at", [NOW, 121.0])
    def test_an_alarm_that_nobody_waits_for_is_ignored(self, at: float) -> None:
        """The next alarm counts, before the instant of the first and after."""
        pacer = Pacer(Limits())
        used(pacer, 7, times=5, at=60.0)
        used(pacer, 8, times=5, at=70.0)
        first = check_of(7)
        dispatcher = waiting(first, check_of(8))
        assert dispatcher.take(pacer, now=NOW) is None
        dispatcher.withdraw(first)
        if at > NOW:
            assert dispatcher.take(pacer, now=at) is None
        assert dispatcher.due_at(pacer, now=at) == 131.0

    def test_a_blocked_id_is_looked_at_after_a_refund(self) -> None:
        """A request that was not sent gives its token back before its time."""
        pacer = Pacer(Limits())
        used(pacer, 7, times=4)
        pacer.started([7], bulk=False, now=NOW)
        dispatcher = waiting(check_of(7))
        assert dispatcher.take(pacer, now=NOW) is None
        pacer.finished([7], bulk=False, how=RequestEnd.NOT_SENT, now=NOW + 1)
        assert dispatcher.take(pacer, now=NOW + 1) is not None

    def test_tokens_taken_by_another_client_are_noticed_before_a_message_goes(self) -> None:
        """Another client of the account has been faster: what was believed of an id is checked before it is used."""
        pacer = without_bulk_slot()
        dispatcher = waiting(check_of(7), check_of(8))
        used(pacer, 7, times=5)
        assert [request.keys for request in start_all(dispatcher, pacer)] == [(8,)]

    def test_a_bulk_request_is_the_way_for_an_id_with_one_token_and_two_messages(self) -> None:
        """However small bulk requests are: the token that is kept for them is used."""
        for max_bulk in (1, 2, 3):
            pacer = Pacer(Limits(max_bulk=max_bulk))
            used(pacer, 7, times=4)
            dispatcher = waiting(*mailing(7, 4), max_bulk=max_bulk)
            assert sizes(start_all(dispatcher, pacer)) == [max_bulk]

    def test_a_probe_takes_the_kept_token_too(self) -> None:
        """At most one message is wanted, the slot is free, and its token is kept for it."""
        pacer = Pacer(Limits())
        used(pacer, 7, times=4)
        request = waiting(*mailing(7, 2)).take(pacer, at_most=1, now=NOW)
        assert request is not None
        assert request.bulk
        assert len(request.checks) == 1


class TestLeaving:
    def test_a_withdrawn_message_does_not_go(self) -> None:
        """Nor is it counted, wherever it was; a second time does nothing."""
        checks = [check_of(1), *mailing(2, 2), check_of(3)]
        dispatcher, pacer = waiting(*checks[:3]), Pacer(Limits())
        dispatcher.add(checks[3], due_at=NOW + 1)
        for one in (checks[0], checks[1], checks[3], checks[3]):
            dispatcher.withdraw(one)
            assert one.state is CheckState.DONE
        assert dispatcher.waiting == 1
        requests = start_all(dispatcher, pacer)
        assert [request.checks for request in requests] == [(checks[2],)]
        dispatcher.withdraw(checks[2])
        assert dispatcher.waiting == 0
        assert dispatcher.take(pacer, now=NOW + 1) is None

    def test_a_message_withdrawn_during_its_pause_is_forgotten_when_the_pause_ends(self) -> None:
        """It comes back no more."""
        gone = check_of(1)
        dispatcher, pacer = waiting(), Pacer(Limits())
        dispatcher.add(gone, due_at=NOW + 1)
        dispatcher.withdraw(gone)
        dispatcher.add(check_of(2), due_at=NOW + 2)
        assert [request.keys for request in start_all(dispatcher, pacer, NOW + 2)] == [(2,)]

    def test_an_id_may_come_back_after_it_was_gone(self) -> None:
        """Its earlier turn does not count then."""
        first, second = check_of(1, rank=1.0), check_of(1, rank=9.0)
        dispatcher, pacer = waiting(first, check_of(2, rank=5.0)), without_bulk_slot()
        dispatcher.withdraw(first)
        dispatcher.add(second)
        assert [request.keys for request in start_all(dispatcher, pacer)] == [(2,), (1,)]

    def test_draining_gives_every_message_that_waits_once(self) -> None:
        """Also those that pause, but none that is on its way."""
        checks = [check_of(id, rank=rank) for id, rank in enumerate([3.0, 1.0, 2.0, 2.0])]
        dispatcher, pacer = waiting(*checks), without_bulk_slot()
        paused = check_of(9, rank=1.5)
        dispatcher.add(paused, due_at=NOW + 1)
        dispatcher.promote(checks[0], 1.2)
        asked = dispatcher.take(pacer, now=NOW)
        assert asked is not None
        assert asked.checks == (checks[1],)
        assert drained(dispatcher) == [checks[0], checks[2], checks[3], paused]
        assert dispatcher.waiting == 0
        assert drained(dispatcher) == []
        assert dispatcher.take(pacer, now=NOW + 1) is None

    def test_drained_messages_are_out_before_the_first_step_and_later_ones_stay(self) -> None:
        old, gone, new = check_of(1), check_of(2), check_of(1)
        dispatcher = waiting(old, gone)
        steps = dispatcher.drain()
        assert dispatcher.waiting == 0
        dispatcher.add(new)
        gone.state = CheckState.DONE
        assert [one for one in steps if one is not None] == [old]
        assert start_all(dispatcher, without_bulk_slot())[0].checks == (new,)

    def test_draining_lets_go_of_one_thing_a_step(self) -> None:
        """So that no step takes long, however many wait, and whether for one id or for many."""
        for ids in ([1] * 1000, range(1000)):
            assert len(list(waiting(*map(check_of, ids)).drain())) > 2000

    def test_a_message_that_pauses_goes_when_its_pause_is_over(self) -> None:
        """It holds up nobody, and is waited for."""
        dispatcher, pacer = waiting(), Pacer(Limits())
        dispatcher.add(check_of(1), due_at=NOW + 3)
        assert dispatcher.waiting == 1
        assert dispatcher.take(pacer, now=NOW) is None
        assert dispatcher.due_at(pacer, now=NOW) == NOW + 3
        assert dispatcher.take(pacer, now=NOW + 2.9) is None
        assert dispatcher.take(pacer, now=NOW + 3) is not None

    def test_an_empty_dispatcher_has_no_instant_to_look_again(self) -> None:
        """An empty dispatcher has no instant to look again."""
        assert waiting().due_at(Pacer(Limits()), now=NOW) == math.inf


class TestSuspects:
    def test_a_request_has_a_bounded_number_of_suspects_and_is_filled_up_with_others(self) -> None:
        """Once a size was answered, the rest of the request are messages that are not suspected."""
        suspects, others = mailing(1, 40, rank=1.0), mailing(2, 400, rank=2.0)
        dispatcher, pacer = waiting(*suspects, *others, max_bulk=100), Pacer(Limits())
        dispatcher.bisection.batch_succeeded(100)
        dispatcher.bisection.batch_refused(suspects)
        request = dispatcher.take(pacer, now=NOW)
        assert request is not None
        assert len(request.checks) == 100
        assert list(request.checks[:10]) == suspects[:10]
        assert not set(request.checks[10:]) & set(suspects)
        assert dispatcher.waiting == 340

    def test_suspects_go_singly_as_far_as_their_tokens_go(self) -> None:
        """That names the culprit; one token stays for the next bulk request."""
        suspects = mailing(1, 6)
        dispatcher, pacer = waiting(*suspects), without_bulk_slot()
        used(pacer, 1)
        dispatcher.bisection.batch_refused(suspects)
        assert [request.checks for request in start_all(dispatcher, pacer)] == [(one,) for one in suspects[:3]]

    def test_few_suspects_with_one_token_go_in_bulk(self) -> None:
        """The bulk slot is free, and their last token is kept for it: half of them goes now."""
        suspects = mailing(1, 3)
        dispatcher, pacer = waiting(*suspects), Pacer(Limits())
        used(pacer, 1, times=4)
        dispatcher.bisection.batch_refused(suspects)
        (request,) = start_all(dispatcher, pacer)
        assert request.bulk
        assert request.checks == (suspects[0],)

    def test_a_lone_suspect_goes_first_and_alone(self) -> None:
        """Others that are older do not spoil their requests with it."""
        older, suspect, innocent = mailing(1, 3, rank=1.0), *mailing(2, 2, rank=2.0)
        dispatcher, pacer = waiting(*older, suspect, innocent), Pacer(Limits())
        used(pacer, 1, 2, times=4)
        dispatcher.bulk_refused([suspect, innocent])
        dispatcher.withdraw(innocent)
        dispatcher.bulk_succeeded(1)
        request = dispatcher.take(pacer, now=NOW)
        assert request is not None
        assert request.checks == (suspect,)

    def test_a_lone_suspect_that_is_on_its_way_goes_first_when_it_is_back(self) -> None:
        """Refused in bulk as the only one left."""
        suspect, older = check_of(2, rank=2.0), mailing(1, 3, rank=1.0)
        dispatcher, pacer = waiting(suspect), Pacer(Limits())
        request = dispatcher.take(pacer, now=NOW)
        assert request is not None
        for one in older:
            dispatcher.add(one)
        dispatcher.bulk_refused(request.checks)
        dispatcher.add(suspect)
        again = dispatcher.take(pacer, now=NOW)
        assert again is not None
        assert again.checks == (suspect,)

    def test_a_withdrawn_suspect_is_no_longer_one(self) -> None:
        """The plan follows from the suspects that are left."""
        one, other = check_of(1), check_of(2)
        dispatcher = waiting(one, other)
        dispatcher.bisection.batch_refused([one, other])
        dispatcher.withdraw(one)
        assert not dispatcher.bisection.is_suspect(one)
        assert dispatcher.bisection.is_suspect(other)


class TestStartAt:
    def test_start_at_is_now_when_slots_are_free(self) -> None:
        """Its id has a token, and a lane is open."""
        one = check_of(1)
        assert waiting(one).start_at(one, Pacer(Limits()), now=NOW) == NOW

    def test_start_at_is_the_latest_instant_of_all_that_the_message_needs(self) -> None:
        """Its id's token, one of the lanes, a slot, and the end of its own pause."""
        one = check_of(7)
        pacer = Pacer(Limits(connections=1, singles_per_minute=1))
        dispatcher = waiting(one)
        used(pacer, 7, times=1, at=50.0)
        assert dispatcher.start_at(one, pacer, now=NOW) == NOW  # in bulk
        used(pacer, "other", bulk=True, at=NOW)
        assert dispatcher.start_at(one, pacer, now=NOW) == 111.0  # singly
        pacer = Pacer(Limits(connections=1))
        used(pacer, 7, times=5, at=70.0)
        assert dispatcher.start_at(one, pacer, now=NOW) == 131.0
        pacer.started(["x"], bulk=False, now=NOW)
        pacer.finished(["x"], bulk=False, how=RequestEnd.ABANDONED, now=125.0)
        assert dispatcher.start_at(one, pacer, now=130.0) == 135.0

    def test_start_at_takes_the_slot_of_an_open_request_as_free(self) -> None:
        """While a request is open its slot is as good as free."""
        one = check_of(7)
        pacer = Pacer(Limits(connections=1))
        pacer.started(["x"], bulk=False, now=NOW)
        assert waiting(one).start_at(one, pacer, now=NOW) == NOW


class TestSoonestAt:
    def test_soonest_at_is_the_instant_at_which_a_lane_and_a_slot_are_free(self) -> None:
        """Whatever the message that would go."""
        dispatcher, pacer = Dispatcher(1000), Pacer(Limits(connections=1, singles_per_minute=1))
        assert dispatcher.soonest_at(pacer, now=NOW) == NOW
        used(pacer, 7, at=80.0)
        assert dispatcher.soonest_at(pacer, now=NOW) == NOW  # in bulk
        used(pacer, "other", bulk=True, at=90.0)
        assert dispatcher.soonest_at(pacer, now=NOW) == 141.0  # singly
        pacer.started(["x"], bulk=False, now=141.0)
        assert dispatcher.soonest_at(pacer, now=151.0) == 151.0  # in bulk, if the reply comes now
        pacer.finished(["x"], bulk=False, how=RequestEnd.ABANDONED, now=145.0)
        assert dispatcher.soonest_at(pacer, now=151.0) == 155.0


def test_messages_that_come_and_go_leave_nothing_behind() -> None:
    """Not even while nothing can go, as in an outage, and an older message waits all the time."""
    dispatcher = waiting(check_of(7, rank=0.0))
    gone: weakref.WeakSet[PendingCheck] = weakref.WeakSet()
    for number in range(1000):
        for key in (7, number + 10):
            one = check_of(key, str(number), rank=float(number + 1))
            gone.add(one)
            dispatcher.add(one)
            dispatcher.withdraw(one)
    del one
    assert len(gone) < 300


@pytest.mark.parametrize("tokens", [0, 1])
def test_ids_that_wait_for_tokens_leave_nothing_behind(tokens: int) -> None:
    """Nor while their alarms are far away, and whether they wait for any token or for the bulk slot."""
    dispatcher, pacer = waiting(*mailing(7, 2)), without_bulk_slot()
    used(pacer, 7, times=5 - tokens)
    gone: weakref.WeakSet[PendingCheck] = weakref.WeakSet()
    for number in range(500):
        used(pacer, number + 10, times=5 - tokens)
        for one in mailing(number + 10, 2, rank=float(number)):
            gone.add(one)
            dispatcher.add(one)
        assert dispatcher.take(pacer, now=NOW) is None
        assert dispatcher.due_at(pacer, now=NOW) == 161.0
        for one in list(gone):
            dispatcher.withdraw(one)
        del one
    assert len(gone) < 300


def test_pauses_that_nobody_waits_for_leave_nothing_behind() -> None:
    """What was withdrawn is not waited for either."""
    dispatcher, pacer = waiting(), Pacer(Limits())
    dispatcher.add(check_of("last"), due_at=NOW + 50)
    gone: weakref.WeakSet[PendingCheck] = weakref.WeakSet()
    for number in range(500):
        one = check_of(number)
        gone.add(one)
        dispatcher.add(one, due_at=NOW + number / 100)
        dispatcher.withdraw(one)
    del one
    assert len(gone) < 300
    assert dispatcher.due_at(pacer, now=NOW) == NOW + 50
    assert len(gone) == 0
