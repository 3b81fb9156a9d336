"""The ids of which single checks leave a token to bulk requests."""

from __future__ import annotations

import pytest

from smsc_status._core.tracking import mailings as mailings_module
from smsc_status._core.tracking.mailings import KEPT, Mailings


def test_single_checks_leave_a_token_of_an_id_with_more_messages_than_tokens() -> None:
    """For a while, and none of other ids."""
    mailings = Mailings(5)
    mailings.found([1, 2] * 5 + [2], now=100.0)
    assert mailings.tokens_left(1, now=100.0) == 0
    assert [mailings.tokens_left(2, now=at) for at in (100.0, 99.9 + KEPT, 100.0 + KEPT)] == [1, 1, 0]


def test_a_mailing_of_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there are many, so that their number is bounded."""
    monkeypatch.setattr(mailings_module, "MANY", 1)
    mailings = Mailings(5)
    for key, now in [(1, 0.0), (2, 100.0), (3, KEPT + 50.0)]:
        mailings.found([key] * 6, now=now)
    assert list(mailings) == [2, 3]
    mailings.found([4] * 5, now=0.0)
    assert list(mailings) == [2, 3]
