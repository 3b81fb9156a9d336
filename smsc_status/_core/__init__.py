"""Decisions: pure functions of state and of an explicit `now`. No clock, event loop, socket or random source is
imported here. The only state for the whole process is in caches. Their values depend only on their arguments, and their
size is bounded.

Stateful classes share one vocabulary. Methods such as `add`, `started` and `finished` report that something happened;
`due_at` says when to look again; `take` says what to do now. Times are seconds of one monotonic clock, and the name of
an instant ends in `_at`.
"""
