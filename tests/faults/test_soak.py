"""A small part of the soak, and whether it would notice; `python -m benchmarks.soak` runs the whole."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks import soak
from smsc_status import MessageRef

pytestmark = pytest.mark.slow


def test_a_part_of_the_soak_loses_nothing_and_breaks_no_limit() -> None:
    """Nothing is lost, nothing comes twice, no limit is broken, and nothing is left, with every kind of fault on."""
    result = soak.run(1000, 1800, seed=1)
    assert not result.objections
    assert 0.03 < result.share_of_faults < 0.07
    assert result.blocked > 1
    assert result.faults.keys() >= soak.ON_THE_WAY.keys()
    assert len(result.faults) > 15
    assert result.records > 5000
    assert result.failed.keys() <= {"streamed: ProtocolError"}  # an unreadable answer is told, and not asked again
    assert "nothing lost" in soak.describe(result)


def test_the_soak_notices_what_is_lost_doubled_wrong_or_left() -> None:
    """What is lost, doubled, wrong, or left."""
    first, second = MessageRef(1, "79990000000"), MessageRef(2, "79990000000")
    result = soak.Result(
        3,
        ended=Counter({first: 2, second: 1}),
        streamed=Counter([first, second]),
        failed=Counter(["tracked: ProtocolError", "streamed: ProtocolError"]),
        wrong=[first],
        broken_limits={"bulk_requests": 1},
        left={"tasks left": 1},
    )
    assert result.objections == {
        "lost": 1,
        "twice": 1,
        "not streamed": 1,
        "wrong": 1,
        "limits broken": 1,
        "tracked and failed": 1,
        "tasks left": 1,
    }
    assert "OBJECTIONS" in soak.describe(result)
