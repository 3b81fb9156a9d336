"""The benchmarks run, at a tiny size."""

from __future__ import annotations

import pytest

from benchmarks import schedule


def test_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    """Its table has a row for each round trip."""
    schedule.main(200)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(schedule.ROUND_TRIPS)
