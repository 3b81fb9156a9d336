"""Pages without the time that plots take."""

from __future__ import annotations

import pytest
import vl_convert


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are empty, because drawing one takes as long as many tests. `test_report_plots.py` draws them."""
    monkeypatch.setattr(vl_convert, "vegalite_to_svg", lambda *_, **__: "<svg ></svg>")
