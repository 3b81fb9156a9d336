"""Removes invisible characters from ids and phones, and recognises values that a spreadsheet has spoilt.

A number that went through a spreadsheet or a table library can come out as another number that looks valid:
`7.999E+10` has the digits 7, 9, 9, 9, 1 and 0, and the digits of `79990000007.0` are a number ten times too large. Such
a value is refused, and the error says what it looks like, since nobody can tell which number it was.
"""

from __future__ import annotations

import re
import unicodedata

MAX_PHONE_DIGITS = 15
"""The most digits of a phone number (E.164), without an extension."""

_FULL_NUMBER_DIGITS = 7
"""A run of at least this many digits is a whole number, not a group of digits of one."""

# Forms of spoilt ids and phones, and what a value of each form looks like.
_SPOILT: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"[+-]?\d+[.,]\d+[EeЕе][+-]?\d+|[+-]?\d+[EeЕе]\+\d+", re.ASCII),
        "a spreadsheet's scientific notation, which has lost digits",
    ),
    (re.compile(r"[+-]?\d+[.,]0+", re.ASCII), "a number that was turned into a decimal fraction"),
    (re.compile(r"['`\u2018\u2019].*"), "a spreadsheet's text cell, with its apostrophe"),
    (re.compile(r"=.*"), "a spreadsheet's formula"),
    (re.compile(r"nan|none|null|nat|<na>", re.IGNORECASE), "an empty cell, as a program writes it"),
    (re.compile(r"#(?:N/A|Н/Д|REF!|ССЫЛКА!|VALUE!|ЗНАЧ!|NAME\?|ИМЯ\?|NUM!|ЧИСЛО!|DIV/0!|ДЕЛ/0!|NULL!|ПУСТО!|#+)"),
     "a spreadsheet's error"),
)  # fmt: skip
_SHORT_SCIENTIFIC = re.compile(r"[+-]?\d+[EeЕе]-?\d+", re.ASCII)  # may be an id, but not a phone
_SEPARATORS = re.compile(r"[;|,\n\r]")
_LATER_PLUS = re.compile(r"[0-9][^+]*\+")
_EXTENSION = re.compile(
    r"[;,]?\s*(?:ext(?:ension)?|доб(?:авочный)?|вн(?:утр(?:енний)?)?|[x#х*])\s*[.:=]?\s*\d{1,7}\s*$", re.IGNORECASE
)
# Most phones: a plus, and digits in groups. They need no closer look.
_USUAL = re.compile(r"(?!.*[0-9]{7}[^0-9]+[0-9]{7})\+?(?:[ ()-]*+[0-9]){1,15}+[ ()-]*+")
_RUN = re.compile(r"[0-9]+")


def visible(text: str) -> str:
    r"""The text without the invisible characters that copying leaves in it. Ids and phones follow the same rule.

    Removed are the characters of Unicode's category Cf (soft hyphens, zero-width characters, direction marks, byte
    order marks) and all spaces but the ordinary one (no-break, narrow, thin). If the text has no letter and no `@`, all
    dashes but the ordinary hyphen (no-break hyphens, en dashes) are removed too, since among digits they mean nothing.
    If such a text has an ordinary hyphen, they become ordinary hyphens instead.

    >>> visible("\u200e+7\u00a0999\u2011000\u201300\u201300"), visible("\ufeffab-7"), visible("7-7\u20117")
    ('+79990000000', 'ab-7', '7-7-7')
    """
    if text.isascii():
        return text
    kept = [char for char in text if not _is_invisible(char)]
    if not any(char.isalpha() or char == "@" for char in kept):
        hyphen = "-" if "-" in kept else ""
        kept = [hyphen if _is_dash(char) else char for char in kept]
    return "".join(kept)


def _is_invisible(char: str) -> bool:
    category = unicodedata.category(char)
    return category == "Cf" or (category == "Zs" and char != " ")


def _is_dash(char: str) -> bool:
    return char == "\u2212" or (char != "-" and unicodedata.category(char) == "Pd")


def spoilt_id(text: str) -> str | None:
    """What the id looks like if a spreadsheet or program has spoilt it; `None` if it does not look spoilt."""
    return _spoilt(text)


def spoilt_phone(text: str) -> str | None:
    """What the phone, not an e-mail address, looks like if it is spoilt or holds several numbers; else `None`."""
    if _USUAL.fullmatch(text):
        return None
    looks_like = _spoilt(text)
    if looks_like is not None:
        return looks_like
    if _SHORT_SCIENTIFIC.fullmatch(text.strip()):
        return _SPOILT[0][1]
    number = _EXTENSION.sub("", text)
    if _is_several(number):
        return "two or more numbers"
    digits = _digits(number)
    has_room = digits <= MAX_PHONE_DIGITS
    return (
        None if has_room else f"two or more numbers, as it has {digits} digits and one has {MAX_PHONE_DIGITS} at most"
    )


def _spoilt(text: str) -> str | None:
    text = text.strip()
    return next((looks_like for form, looks_like in _SPOILT if form.fullmatch(text)), None)


def _is_several(number: str) -> bool:
    """Whether the text holds more than one number.

    There are four signs: a separator with digits on both sides; a slash with digits after it and at least seven digits
    before it (in `030/1234567` it only separates groups of one number); a plus after digits; two runs of at least seven
    digits each.
    """
    before, _, after = number.partition("/")
    return (
        sum(bool(_digits(part)) for part in _SEPARATORS.split(number)) > 1
        or (_digits(before) >= _FULL_NUMBER_DIGITS and bool(_digits(after)))
        or _LATER_PLUS.search(number) is not None
        or sum(len(run) >= _FULL_NUMBER_DIGITS for run in _RUN.findall(number)) > 1
    )


def _digits(text: str) -> int:
    return sum(map(len, _RUN.findall(text)))
