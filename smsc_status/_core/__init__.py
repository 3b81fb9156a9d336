"""Decisions: pure functions of state and an explicit `now`; no clock, loop, socket or randomness is imported here.

The stateful ones answer three checks in the same words: something happened (`add`, `started`, `finished`), when
must I look again (`due_at`), what do I do now (`take`). Times are seconds on one monotonic line; an instant's name
ends in `_at`.
"""
