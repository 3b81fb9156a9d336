"""Takes secrets out of errors.

An error of a transport may carry the request that failed, and the request's body holds the credentials. It may be in an
attribute, an argument, a note, the locals of a traceback's frames, or an error that this one is chained to. Nobody can
list all such places of all transports. So the error is replaced by a copy that has its class, its text and its plain
values (texts, numbers, and tuples, lists and dicts of them), and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smsc_status.errors import SmscError

DEPTH = 5
"""How many levels of nested tuples, lists and dicts are copied. A deeper one counts as a value that is not plain."""


class Redactor:
    """Takes the secrets out of errors.

    Args:
        hidden: returns a text without the secrets in it.
    """

    def __init__(self, hidden: Callable[[str], str]) -> None:
        self._hidden = hidden

    def redact(self, error: SmscError) -> None:
        """Take the secrets out of one of this library's errors, in place. Errors that it is chained to are copied."""
        error.args = tuple(self._redacted(value, DEPTH, _itself) for value in error.args)
        for name, value in vars(error).items():
            vars(error)[name] = self._redacted(value, DEPTH, _itself)
        error.__traceback__ = None  # its frames may hold a reply that repeats the request
        is_suppressed = error.__suppress_context__
        error.__cause__ = error.__cause__ and self.copy(error.__cause__)
        error.__context__ = error.__context__ and self.copy(error.__context__)
        error.__suppress_context__ = is_suppressed

    def copy(self, error: BaseException) -> BaseException:
        """A copy of any error, and of all errors that it is chained to, without tracebacks and secrets."""
        links = chain(error)
        copies: dict[int, BaseException] = {}
        for link in links:
            self._copy_one(link, copies)
        for link in links:
            copy = copies[id(link)]
            _set(copy, "__cause__", link.__cause__ and copies[id(link.__cause__)])
            _set(copy, "__context__", link.__context__ and copies[id(link.__context__)])
            _set(copy, "__suppress_context__", link.__suppress_context__)
        return copies[id(error)]

    def _copy_one(self, error: BaseException, copies: dict[int, BaseException]) -> BaseException:
        if id(error) in copies:
            return copies[id(error)]
        copy: BaseException
        try:
            if isinstance(error, BaseExceptionGroup):
                members = [self._copy_one(member, copies) for member in error.exceptions]
                copy = BaseExceptionGroup(self._hidden(error.message), members)
            else:
                copy = self._rebuilt(error)
            for name, value in vars(error).items():
                vars(copy)[name] = self._redacted(value, DEPTH, _nothing)
            reason(copy), repr(copy)
        except Exception:  # the copy could not be made, or can't be shown: its class needs more than its arguments
            copy = Exception(self._hidden(_reason_or_class(error)))
        copies[id(error)] = copy
        return copy

    def _rebuilt(self, error: BaseException) -> BaseException:
        kind = type(error)
        args = [self._redacted(value, DEPTH, _name_of_class) for value in error.args]
        if kind.__module__ == "builtins":
            return kind(*args)
        copy = kind.__new__(kind, *args)  # `__init__` is not called: it may want other arguments, or have side effects
        _set(copy, "args", tuple(args))
        return copy

    def _redacted(self, value: Any, depth: int, other: Callable[[Any], Any]) -> Any:
        """The value without secrets. `other` returns what stands in place of a value that is not plain."""
        if isinstance(value, str):
            return self._hidden(value)
        if isinstance(value, bytes):
            return self._hidden(value.decode(errors="surrogateescape")).encode(errors="surrogateescape")
        if value is None or isinstance(value, bool | int | float):
            return value
        within = _name_of_class if other is _nothing else other
        if isinstance(value, tuple | list) and depth:
            items = [self._redacted(item, depth - 1, within) for item in value]
            return tuple(items) if isinstance(value, tuple) else items
        if isinstance(value, dict) and depth:
            return {
                self._redacted(name, 0, within): self._redacted(item, depth - 1, within) for name, item in value.items()
            }
        return other(value)


def chain(error: BaseException) -> list[BaseException]:
    """The error, all errors that it is chained to, and the members of groups, each once."""
    found: dict[int, BaseException] = {}
    left: list[BaseException | None] = [error]
    while left:
        link = left.pop()
        if link is not None and id(link) not in found:
            found[id(link)] = link
            left += [link.__cause__, link.__context__]
            if isinstance(link, BaseExceptionGroup):
                left += link.exceptions
    return list(found.values())


def without_traceback(error: BaseException) -> BaseException:
    """The same error. The tracebacks of it and of all errors that it is chained to are removed."""
    for link in chain(error):
        _set(link, "__traceback__", None)
    return error


def reason(error: BaseException) -> str:
    """The error's class and text. Raises what the error's `__str__` raises."""
    return f"{type(error).__name__}: {error}"


def _reason_or_class(error: BaseException) -> str:
    try:
        return reason(error)
    except Exception:
        return type(error).__name__


def _set(error: BaseException, name: str, value: Any) -> None:
    """Set an attribute, even if the error's class is frozen."""
    BaseException.__setattr__(error, name, value)


def _itself(value: Any) -> Any:
    return value


def _nothing(value: Any) -> None:
    return None


def _name_of_class(value: Any) -> str:
    return f"<{type(value).__name__}>"
