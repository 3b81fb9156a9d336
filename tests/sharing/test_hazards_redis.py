"""What may happen to processes that share an account by a Redis or Valkey server, and to that server.

As in `test_hazards`: real processes, sockets, servers and time, and the emulator counts and refuses.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import attrs
import hiredis
import pytest
from fleets import BUDGET, LINGER, QUARANTINE, Counted, Fleet, Program, kill_for, longest_gap
from redis_servers import Proxy, Server, program

pytestmark = pytest.mark.slow

Start = Callable[..., Server]
Said = dict[str, Any]

ONLY_SINGLE = {"limits": {"max_bulk": 2}}
"""So few messages in a bulk request that nearly all requests are single ones."""


def share(server: Server | Proxy) -> str:
    """The URL for processes whose account has been idle: the first one need not wait."""
    return f"redis://127.0.0.1:{server.port}?assume_idle=1"


def at_work(fleet: Fleet, url: str, count: int, **options: Any) -> list[Program]:
    """So many processes that go on until they are asked to end."""
    programs = [fleet.start(url, "go_on", first=1 + 1000 * k, count=1000, **options) for k in range(count)]
    for each in programs:
        assert each.line() == "at work"
    return programs


def until_refused(fleet: Fleet, hazard: Callable[[], object]) -> int:
    """Let it happen right after each bulk request, until the server has refused one. Returns how many it has refused.

    A control test waits for a refusal as long as it takes, so that it does not depend on luck.
    """
    while not (counted := fleet.wait_for_bulk()).refusals:
        hazard()
    return counted.refusals


@pytest.fixture(params=["redis"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which server. Tests of what differs between servers name more."""
    name: str = request.param
    return name


def keeps_the_limits(counted: Counted) -> None:
    assert counted.refusals == 0
    assert counted.most_open <= 4


# 1. Several processes.


@pytest.mark.parametrize("kind", ["redis", "valkey"], indirect=True)
def test_processes_that_share_a_log_keep_the_limits_together(fleet: Fleet, server: Server) -> None:
    programs = [fleet.start(share(server), "stream", first=1 + 60 * k, count=60, **ONLY_SINGLE) for k in range(3)]
    for each in programs:
        assert len(each.end()["answered_at"]) == 60
    counted = fleet.counted()
    keeps_the_limits(counted)
    assert counted.most_open == 4
    assert counted.requests["bulk"] > 0


def test_without_the_comparison_before_an_append_they_would_be_refused(fleet: Fleet, server: Server) -> None:
    """Two take one slot."""
    at_work(fleet, share(server), 3, without="compare")
    fleet.wait_until(lambda counted: counted.refusals > 0)


# 2. Processes are killed.


def test_processes_that_are_killed_break_no_limit_and_hold_up_nobody_for_long(fleet: Fleet, server: Server) -> None:
    """A killed process keeps its slots for a time-out and a linger."""
    found = kill_for(fleet, share(server), 3.0)
    keeps_the_limits(fleet.counted())
    for said in found:
        assert longest_gap(said["answered_at"]) < BUDGET + LINGER + 2.0
        assert not said["warnings"]


def test_if_requests_without_an_end_did_not_count_they_would_be_refused(fleet: Fleet, server: Server) -> None:
    """The killed process has sent a bulk request less than a period ago."""
    options = {"without": "abandoned"}
    at_work(fleet, share(server), 1, **options)
    victims = at_work(fleet, share(server), 1, **options)

    def kill() -> None:
        victims.pop().kill()
        victims.extend(at_work(fleet, share(server), 1, **options))

    until_refused(fleet, kill)


# 3. The server forgets.


def flush(server: Server) -> None:
    server.call("FLUSHALL")


def restart(server: Server) -> None:
    server.kill()
    server.start()


def fill(server: Server) -> None:
    """Another program stores more than there is room for. The server evicts all keys, and then refuses."""
    used = int(re.search(rb"used_memory:(\d+)", server.call("INFO", "memory"))[1])  # type: ignore[index]  # it is there
    server.call("CONFIG", "SET", "maxmemory", used + 1_000_000)
    with pytest.raises(hiredis.ReplyError, match="OOM"):
        server.call("SET", "another program's", bytes(8_000_000))
    server.call("CONFIG", "SET", "maxmemory", 0)


LOSSES: dict[tuple[str, str], Callable[[Server], None]] = {
    ("redis", "flushed"): flush,
    ("redis", "restarted empty"): restart,
    ("redis", "evicted"): fill,
    ("valkey", "flushed"): flush,
    ("valkey", "evicted"): fill,
}
"""By the kind of server and what happens to its log."""


@attrs.frozen
class Seen:
    """What was seen of a loss: the server's counts, and what the processes said."""

    counted: Counted
    said: list[Said]


def is_installed(kind: str) -> bool:
    try:
        program(kind)
    except pytest.skip.Exception:  # the tests of this kind say themselves what this machine lacks
        return False
    return True


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Seen]]:
    """All losses, side by side, because they are mostly waiting: a fleet of its own for each."""
    with ExitStack() as stack:
        fleets: dict[tuple[str, str], tuple[Fleet, Server, list[Program]]] = {}
        for kind, how in filter(lambda loss: is_installed(loss[0]), LOSSES):
            options = ["--maxmemory-policy", "allkeys-lru"] if how == "evicted" else []
            server = Server(kind, tmp_path_factory.mktemp(kind), *options)
            stack.callback(server.kill)
            fleet = Fleet(latency=0.4, messages=2000)
            stack.callback(fleet.end)
            programs = [
                fleet.start(share(server), "go_on", first=1 + 1000 * k, count=1000, limits={"max_bulk": 20})
                for k in range(2)
            ]
            fleets[kind, how] = fleet, server, programs
        for _, _, programs in fleets.values():
            for each in programs:
                assert each.line() == "at work"

        def lose(loss: tuple[str, str]) -> None:
            fleet, server, _ = fleets[loss]
            fleet.wait_for_bulk()
            LOSSES[loss](server)
            time.sleep(QUARANTINE)
            fleet.wait_for_bulk()

        with ThreadPoolExecutor(len(LOSSES)) as pool:
            list(pool.map(lose, fleets))
        said = {loss: [each.end() for each in programs] for loss, (_, _, programs) in fleets.items()}
        yield {loss: Seen(fleet.counted(), said[loss]) for loss, (fleet, _, _) in fleets.items()}


@pytest.mark.parametrize(("kind", "how"), LOSSES)
def test_a_lost_log_is_followed_by_a_quarantine(losses: dict[tuple[str, str], Seen], kind: str, how: str) -> None:
    """Then all go on. A server that lacks memory may evict the new log too, as long as that lasts."""
    program(kind)
    seen = losses[kind, how]
    keeps_the_limits(seen.counted)
    for said in seen.said:
        assert longest_gap(said["answered_at"]) < 2 * QUARANTINE
        quarantines = [text for text in said["warnings"] if "nothing is sent for up to" in text]
        assert len(quarantines) == 1 or (how == "evicted" and quarantines)
        assert len([text for text in said["warnings"] if "may evict" in text]) == (how == "evicted")


def test_without_the_quarantine_they_would_be_refused(fleet: Fleet, server: Server) -> None:
    at_work(fleet, share(server), 1, without="quarantine")
    until_refused(fleet, lambda: flush(server))


# 4. The server's clock is set.


def test_a_clock_that_is_set_breaks_no_limit_and_holds_up_nobody(fleet: Fleet, start: Start) -> None:
    """By 30 seconds, forwards and then back, each time right after a bulk request."""
    server = start(fake_time=True)
    programs = at_work(fleet, share(server), 2)
    for offset in (30.0, 0.0):
        fleet.wait_for_bulk()
        server.set_clock(offset)
    fleet.wait_for_bulk()
    found = [each.end() for each in programs]
    keeps_the_limits(fleet.counted())
    for said in found:
        assert longest_gap(said["answered_at"]) < BUDGET + LINGER + 2.0
    warnings = [text for said in found for text in said["warnings"]]
    for step in (r"\+(29|30)", "-(29|30)"):
        assert [text for text in warnings if re.search(rf"was set by {step}\.\d+ s", text)], warnings
    assert all("was set by" in text for text in warnings)


def test_without_the_correction_of_the_clock_they_would_be_refused(fleet: Fleet, start: Start) -> None:
    server = start(fake_time=True)
    at_work(fleet, share(server), 1, without="clock")
    steps = itertools.count(30, 30)
    until_refused(fleet, lambda: server.set_clock(next(steps)))


# 5. The network is partitioned.

PARTITION = 3.0
"""Seconds."""


def test_after_a_partition_the_processes_that_were_cut_off_go_on_and_nothing_is_doubled(
    fleet: Fleet, server: Server, proxy: Proxy
) -> None:
    """Commands that were under way arrive when the partition ends, and their senders have given them up by then."""
    options = ONLY_SINGLE | {"answered_within": 1.0}
    near, cut_off = (
        fleet.start(url, "stream", first=1 + 1000 * k, count=150, **options)
        for k, url in enumerate([share(server), share(proxy)])
    )
    fleet.wait_until(lambda counted: counted.messages > 50)
    proxy.is_partitioned = True
    time.sleep(PARTITION)
    proxy.is_partitioned = False
    found = [near.end(), cut_off.end()]
    counted = fleet.counted()
    keeps_the_limits(counted)
    assert [len(said["answered_at"]) for said in found] == [150, 150]
    assert counted.messages <= 300 + sum(said["retries"] for said in found)
    assert longest_gap(found[0]["answered_at"]) < BUDGET + LINGER + 2.0
    assert PARTITION - BUDGET < longest_gap(found[1]["answered_at"]) < PARTITION + BUDGET + LINGER + 2.0


def test_if_they_went_on_without_the_log_they_would_be_refused(fleet: Fleet, server: Server, proxy: Proxy) -> None:
    options = ONLY_SINGLE | {"answered_within": 0.5, "without": "store"}
    at_work(fleet, share(server), 1, **options)
    at_work(fleet, share(proxy), 1, **options)
    proxy.is_partitioned = True
    fleet.wait_until(lambda counted: counted.refusals > 0)
    proxy.is_partitioned = False
