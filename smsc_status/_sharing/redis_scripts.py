"""The Lua scripts of the log in Redis. Each runs as a whole: no other command runs in between.

The log of an account is one stream. An entry's id is `INCARNATION-NUMBER`. A log that takes another's place has a
greater incarnation: the milliseconds at which it began, or more. An entry's fields are

- `t`: its stamp, which is a log time, in microseconds,
- `d`: its data,
- `c`: the correction that is in force, in microseconds,
- `r`: the `run_id` of the server that wrote it. It is in each entry, so it stays when old entries are dropped.

A server that was restarted, or that took over from another, has another `run_id`. It may have forgotten entries.

Every script answers `{what, run_id, the server's time, the last entry's id, its r, its t, its c, entries}`, with empty
strings for what there is not.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Any, Final

import attrs

from smsc_status._core.scheduling.ledger import Entry
from smsc_status._sharing.server_clock import MICROSECONDS
from smsc_status.errors import ConfigError

PAGE: Final = 1000
"""The most entries of one answer. The server serves nobody else while it collects them."""

_HEAD: Final = f"""
local PAGE = {PAGE}
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local time = redis.call('TIME')
local raw = time[1] * 1000000 + time[2]
local id, of = '', {{r = '', t = '', c = ''}}
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last then
  id = last[1]
  for i = 1, #last[2], 2 do of[last[2][i]] = last[2][i + 1] end
end
local function whole(number) return string.format('%.0f', number) end
local function answer(what, entries) return {{what, run, whole(raw), id, of.r, of.t, of.c, entries or {{}}}} end
local function is_beyond(low, high) return raw < tonumber(low) or raw > tonumber(high) end
"""

_APPEND: Final = (
    _HEAD
    + """
-- from, [expected last id, expected run_id, low, high, correction, next id, data]
if not last and redis.call('EXISTS', KEYS[1]) == 1 then return answer('empty') end
if of.r ~= run then return answer('read') end
if #ARGV > 1 and id == ARGV[2] and run == ARGV[3] then
  if is_beyond(ARGV[4], ARGV[5]) then return answer('beyond') end
  local t, c = whole(math.max(raw + ARGV[6], tonumber(of.t))), ARGV[6]
  local added = redis.pcall('XADD', KEYS[1], 'NOMKSTREAM', ARGV[7], 't', t, 'd', ARGV[8], 'c', c, 'r', run)
  if type(added) == 'table' and added.err then
    -- There were entries of greater numbers. Somebody has deleted them by hand.
    if string.find(added.err, 'equal or smaller') then return answer('missing') end
    return added
  end
  if added then
    id, of.t, of.c = ARGV[7], t, c
    return answer('appended')
  end
end
return answer('read', redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', PAGE))
"""
)

_BEGIN: Final = (
    _HEAD
    + """
-- name of the log to replace, incarnation and number of the newest known entry, low, high, correction, data...
local incarnation, number = string.match(id, '^(%d+)-(%d+)')
incarnation, number = tonumber(incarnation or 0), tonumber(number or 0)
local known = tonumber(ARGV[2])
local is_behind = incarnation < known or (incarnation == known and number < tonumber(ARGV[3]))
if of.r == run and run .. '/' .. whole(incarnation) ~= ARGV[1] and not is_behind then
  return answer('other', redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', PAGE))
end
if is_beyond(ARGV[4], ARGV[5]) then return answer('beyond') end
incarnation = math.max(math.floor(raw / 1000), known + 1, incarnation + 1)
of = {r = run, t = whole(raw + ARGV[6]), c = ARGV[6]}
redis.call('DEL', KEYS[1])
for i = 7, #ARGV do
  id = whole(incarnation) .. '-' .. (i - 6)
  redis.call('XADD', KEYS[1], id, 't', of.t, 'd', ARGV[i], 'c', of.c, 'r', run)
end
return answer('began')
"""
)


@attrs.frozen
class Script:
    """A script's text, and the hash under which the server remembers it."""

    text: bytes = attrs.field(repr=False)
    hash: bytes

    @classmethod
    def of(cls, text: str) -> Script:
        """The script with this text."""
        return cls(text.encode(), sha1(text.encode()).hexdigest().encode())  # noqa: S324 (Redis names it so)


append: Final = Script.of(_APPEND)
"""Reads the entries from an id on; or appends one, if the last one has the expected id and nothing has gone wrong."""
begin: Final = Script.of(_BEGIN)
"""Begins a log, unless there is a usable one of another name that lacks no known entries. Then it reads that."""


@attrs.frozen
class Answer:
    """What a script answers. The incarnation and the number are the last entry's; both are 0 if there is none."""

    what: str
    run: str
    raw: int
    """The server's time, without any correction."""
    incarnation: int
    number: int
    of_run: str
    stamp: int
    correction: int
    entries: list[Entry]
    has_gap: bool
    """Whether entries in between are missing."""

    @classmethod
    def of(cls, reply: Any, where: str) -> Answer:
        """The answer in the server's reply.

        Raises:
            ConfigError: the key does not hold a log.
            ValueError, TypeError, AttributeError: it is not a reply of these scripts.
        """
        what, run, raw, last, of_run, stamp, correction, pairs = reply
        what, run, raw, of_run = what.decode(), run.decode(), int(raw), of_run.decode()
        try:
            incarnation, number = map(int, last.split(b"-")) if last else (0, 0)
            is_log = not last or bool(of_run)
            entries, numbers = [], []
            for id, (_, at, _, data, *_) in pairs:
                numbers.append(int(id.partition(b"-")[2]))
                entries.append(Entry(numbers[-1], int(at) / MICROSECONDS, data))
            stamp, correction = int(stamp or 0), int(correction or 0)
        except ValueError:
            is_log = False
        if not is_log:
            raise ConfigError(f"share: {where} holds something else: expected a log of smsc_status")
        has_gap = bool(numbers) and numbers != list(range(numbers[0], numbers[0] + len(numbers)))
        return cls(what, run, raw, incarnation, number, of_run, stamp, correction, entries, has_gap)

    @property
    def is_usable(self) -> bool:
        """Whether the log was written by the server as it runs now."""
        return bool(self.of_run) and self.of_run == self.run

    @property
    def log(self) -> str:
        """The log's name."""
        return f"{self.of_run}/{self.incarnation}"

    def id(self, number: int) -> bytes:
        """The id of this log's entry of that number."""
        return b"%d-%d" % (self.incarnation, number)
