"""Pages without the time that plots take."""

from __future__ import annotations

import pytest
from report_support import leave_out_plots


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are empty."""
    leave_out_plots(monkeypatch)
