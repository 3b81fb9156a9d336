"""Explains the vendor's numbers, from the tables in `codes`."""

from __future__ import annotations

from typing import Any

from smsc_status import codes
from smsc_status.codes import Meaning, Title

Explanation = dict[str, Any]


def explain(code: int) -> Explanation:
    """All meanings of this number, ready for JSON. Tables without this number are left out."""
    found: Explanation = {"code": code}
    status = codes.STATUSES.get(code)
    if status is not None:
        found["status"] = {**_meaning(status), "is_final": codes.is_final(code)}
    errors = {"sms": codes.SMS_ERRORS.get(code), "email": codes.EMAIL_ERRORS.get(code)}
    err = {table: _meaning(meaning) for table, meaning in errors.items() if meaning is not None}
    if err:
        found["err"] = err
    refusal = codes.reply_error_title(code)
    if refusal is not None:
        found["reply_error"] = {"title": _both(refusal)}
    return found


def lines(found: Explanation) -> list[str]:
    """An explanation as lines of text, for people."""
    code = found["code"]
    text: list[str] = []
    if "status" in found:
        ending = "final" if found["status"]["is_final"] else "not final"
        text += _section(f"status {code}, {ending}", found["status"])
    if "sms" in found.get("err", {}):
        text += _section(f"err {code} of an SMS, a look-up (HLR), a call or a messenger", found["err"]["sms"])
    if "email" in found.get("err", {}):
        text += _section(f"err {code} of an e-mail", found["err"]["email"])
    if "reply_error" in found:
        text += _section(f"error_code {code}, the refusal of a whole request", found["reply_error"])
    return text


def _section(heading: str, meaning: Explanation) -> list[str]:
    title, description = meaning["title"], meaning.get("description")
    text = [f"{heading}: {title['en']} · {title['ru']}"]
    return [*text, f"    {description['en']}", f"    {description['ru']}"] if description else text


def _meaning(meaning: Meaning) -> Explanation:
    return {"title": _both(meaning.title), "description": _both(meaning.description)}


def _both(title: Title) -> dict[str, str]:
    return {"en": title.en, "ru": title.ru}
