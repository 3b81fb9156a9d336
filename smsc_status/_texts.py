r"""Makes texts that others wrote safe to show on a terminal, in a log line or in an exception.

Control and escape characters can move a terminal's cursor, forge log lines or hide text. They are replaced by escapes
(`\x1b`). Letters of every language, spaces and emoji stay as they are.
"""

from __future__ import annotations

import re

MAX_CHARS = 1000
"""The most characters of an error's text."""

# Control characters (C0, DEL and C1), line and paragraph separators, characters that change the reading direction, and
# halves of surrogate pairs, which no charset can write.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_KEPT_IN_CELLS = "\n\t"


def one_line(text: str, max_chars: int | None = MAX_CHARS) -> str:
    r"""The text in one line of at most `max_chars` characters (`None`: no limit), without control characters.

    Applying it a second time changes nothing.

    >>> one_line("done\r\x1b[2J\nERROR")
    'done\\r\\x1b[2J\\nERROR'
    """
    if max_chars is not None and len(text) > max_chars:
        text = text[: max_chars + 1]  # no escape is shorter than its character
    text = _UNSAFE.sub(_escaped, text)
    return text if max_chars is None or len(text) <= max_chars else f"{text[: max_chars - 1]}…"


def without_controls(text: str) -> str:
    """The text with newlines and tabs kept, and all other control characters as escapes."""
    return _UNSAFE.sub(lambda found: found[0] if found[0] in _KEPT_IN_CELLS else _escaped(found), text)


def in_json(text: str) -> str:
    """The one-line JSON document with control characters as JSON's own escapes. Its value stays the same."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
