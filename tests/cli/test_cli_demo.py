"""The demo, in this process."""

from __future__ import annotations

import json
from unittest import mock

import anyio
import pytest
from cli_support import run

from smsc_status import StatusClient
from smsc_status.cli import _demo, _demo_messages, _meters
from smsc_status.codes import Status
from smsc_status.emulator import Emulator, Referee
from smsc_status.errors import SmscError, TransportError
from smsc_status.models import FailedCheck, MessageRef

pytestmark = [pytest.mark.slow, pytest.mark.measured]


def test_the_demo_for_machines_shows_every_status_and_breaks_no_limit() -> None:
    """Every status, every channel, the limits at their edge and not beyond, ids held back, and all of it true."""
    for speed in ("60", "20"):  # the second time on a machine that has no time: it does not get to the edge at once
        ended = run("demo", "--messages", "120", "--speed", speed, "--json")
        report = json.loads(ended.out)
        if report["peaks"]["checks_per_id"][0] >= 4:
            break
    assert ended.status == report["exit"] == 0
    assert report["messages"] >= 120
    assert report["checks"] > report["messages"]
    assert set(report["statuses"]) == {str(int(status)) for status in Status}
    assert {"sms", "hlr", "email", "call"} <= set(report["channels"])
    assert report["failed"] == report["wrong"] == report["refused"] == 0
    assert report["limits_kept"] is True
    assert report["peaks"]["checks_per_id"] in ([4, 5], [5, 5])  # 4: on a machine that has no time
    assert report["peaks"]["bulk_requests"] == [1, 1]
    assert report["peaks"]["connections"][0] <= 4
    assert report["most_ids_held_back"] > 0
    assert report["requests"]["bulk"] > 1
    assert "bulk slot" in ended.err  # plain lines, where no bar can move
    assert "\x1b" not in ended.err


def test_the_demo_on_a_terminal_shows_a_bar_a_table_and_a_verdict() -> None:
    """A live bar, a table, and a last line that says what was sent and that no limit was broken."""
    ended = run("demo", "--messages", "40", "--speed", "240", terminals=("stderr",))
    assert ended.status == 0
    assert "held back" in ended.err
    last = ended.out.splitlines()[-1]
    assert last.startswith("Sent ")
    assert "no limit was broken" in last
    assert "statuses are what the emulator held" in last
    for status in Status:
        assert str(int(status)) in ended.out


def test_the_demo_says_so_if_a_limit_is_broken() -> None:
    """A referee that finds fault is believed."""
    strict = Referee(checks_per_id=1)

    class StrictEmulator(Emulator):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, referee=strict, enforce=False, **kwargs)  # type: ignore[arg-type]  # passed on

    with mock.patch.object(_demo, "Emulator", StrictEmulator):
        ended = run("demo", "--messages", "20", "--speed", "240")
    assert ended.status == 1
    assert "A LIMIT WAS BROKEN" in ended.out


def test_the_demo_counts_what_is_wrong_or_fails() -> None:
    """Otherwise a demo without complaints would mean nothing."""
    error = TransportError("cut")
    with (
        mock.patch.object(_demo_messages.RecordingWorld, "has_given", return_value=False),
        mock.patch.object(StatusClient, "check", side_effect=error),
    ):
        report = json.loads(run("demo", "--messages", "13", "--speed", "240", "--json").out)
    assert report["exit"] == 1
    assert report["wrong"] == report["messages"]
    assert report["failed"] == report["checks"] - report["messages"] > 0
    # One step of the demo alone: its own server gives no such failure.
    shown = mock.Mock(spec=_demo.Demo, checks=0, failed=0)
    _demo.Demo._take_in(shown, FailedCheck(MessageRef(1, "7"), error))
    assert (shown.checks, shown.failed) == (1, 1)


@pytest.mark.parametrize("speed", ["0", "-1", "inf", "nan"])
def test_a_speed_that_can_not_be_is_wrong_usage(speed: str) -> None:
    """Usage, in one line."""
    ended = run("demo", "--speed", speed)
    assert ended.status == 2
    assert "speed" in ended.err


@pytest.mark.parametrize("count", [0, 1, 12, 13, 300])
def test_there_are_as_many_messages_as_asked(count: int) -> None:
    """Besides those that the emulator does not know (any more); no message twice."""
    there = _demo_messages.add_demo_messages(Emulator(_demo_messages.RecordingWorld(1)), count)
    few = max(1, count // 40)
    assert len(there.messages) == len(set(there.messages)) == count + 2 * few
    assert set(there.watched) <= set(there.messages)


def test_an_unknown_status_has_a_row() -> None:
    """The table leaves nothing out."""
    report = {
        "statuses": {"99": 1},
        "channels": {},
        "requests": {},
        "peaks": {"checks_per_id": [0, 5], "bulk_requests": [0, 1], "connections": [0, 4]},
        "limits_kept": True,
        "refused": 0,
        "checks": 1,
        "failed": 0,
        "wrong": 0,
        "seconds": 0.0,
    }
    with mock.patch.object(_demo, "Console") as console:
        _demo.show(report)
    table = console.return_value.print.call_args_list[0].args[0]
    assert list(table.columns[1].cells) == ["unknown"]


def test_an_error_beside_the_ticking_comes_out_as_itself() -> None:
    """Not wrapped in a group."""

    async def fail() -> None:
        async with _meters.ticking(lambda: None), anyio.create_task_group():
            raise SmscError("itself")

    with pytest.raises(SmscError, match="itself"):
        anyio.run(fail)
