"""Commands that run in this process share nothing with those of other tests."""

from __future__ import annotations

from weakref import WeakValueDictionary

import pytest

from smsc_status import limiter
from smsc_status._runtime import sharing


@pytest.fixture(autouse=True)
def no_limiter_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of another test may have had the same port, and so the same account."""
    monkeypatch.setattr(limiter, "_shared", WeakValueDictionary())
    monkeypatch.setattr(limiter, "_unfinished", set())
    monkeypatch.setattr(sharing, "_shared_limiters", WeakValueDictionary())
