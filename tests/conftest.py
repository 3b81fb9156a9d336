"""Two event loops, both in virtual time unless a test says otherwise."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock
from virtual import VirtualLoop

from smsc_status._runtime import sharing

# The first is loaded by its entry point, except where the package is on the path but not installed.
pytest_plugins = ["pytest_smsc_status", "pytester"]

# A shell lets what it starts in the background ignore Ctrl-C, and what that starts, too. Some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Mutation testing runs the tests many times in one process, and wants the same verdict each time.
settings.register_profile("mutation", derandomize=True, suppress_health_check=[HealthCheck.differing_executors])


@pytest.fixture(autouse=True)
def no_log_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients share nothing with other processes unless a test says so: the log's clock is real time."""
    monkeypatch.setattr(sharing, "DEFAULT", sharing.PROCESS)


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A run within a test has none of the options of this one, such as to measure coverage."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return pytester


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what lasts as long as the tests out of each garbage collection: one walked through it for half a second.

    And collect less often than Python does by itself, because the tests make many objects.
    """
    begin_hypothesis()  # now, while there is little for the garbage collector to look through
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000)
        gc.enable()


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist nobody asks
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for each core: more than half of the time the tests wait for real servers and real time.

    Quick tests seldom wait, so there are fewer: each process takes seconds to collect all tests.
    """
    cores = os.cpu_count() or 1
    return cores + 1 if config.option.markexpr == "not slow" else 2 * cores


@settings(max_examples=1, database=None, derandomize=True)
@given(st.none())
def begin_hypothesis(_: None) -> None:
    """Let Hypothesis register its random numbers: it asks the garbage collector for references, which must see them."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure coverage in quick tests, and in slow ones that are marked `measured`.

    Measuring about doubles the time of Python code, and the others run no line that these do not. Coverage can't be
    paused by its own functions: in the processes of pytest-xdist, pytest-cov measures twice.
    """
    if item.get_closest_marker("slow") is None or item.get_closest_marker("measured") is not None:
        return (yield)
    trace, thread_trace = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        threading.settrace(thread_trace)
        sys.settrace(trace)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """For tests marked `anyio`: once on each event loop, in virtual time."""
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": VirtualLoop}
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """For tests marked `asyncio`: real time, or virtual time if they are also marked `virtual`."""
    if item.get_closest_marker("virtual"):
        return {"virtual": VirtualLoop}
    return {"real": asyncio.new_event_loop}
