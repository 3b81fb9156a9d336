"""Errors without secrets: a copy has what an error says, and nothing of what it may hold."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from helpers import held_by

from smsc_status._runtime.redaction import DEPTH, Redactor, chain, reason, without_traceback
from smsc_status.errors import ApiError, ProtocolError, SmscError, TransportError

SECRET = "key-of-ours"
REQUEST = httpx.Request("POST", "https://smsc.ru", content=f"apikey={SECRET}")


@pytest.fixture
def redactor() -> Redactor:
    return Redactor(lambda text: text.replace(SECRET, "***"))


def caught(raising: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as info:  # noqa: PT011 (any)
        raising()
    return info.value


class Picky(Exception):
    """Its class is called with the request alone, which its text is made of."""

    def __init__(self, *, request: httpx.Request) -> None:
        super().__init__()
        self.request = request

    def __str__(self) -> str:
        return self.request.content.decode()


class Slotted(Exception):
    __slots__ = ("request",)

    def __init__(self, text: str, request: httpx.Request) -> None:
        super().__init__(text)
        self.request = request


class Unmakable(Exception):
    def __new__(cls, request: httpx.Request) -> Unmakable:
        return super().__new__(cls, request.content.decode())


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError(self.args)


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    request: httpx.Request


def with_notes(error: Exception) -> Exception:
    error.add_note(f"it was apikey={SECRET}")
    return error


def chained(error: Exception, other: Exception, *, is_suppressed: bool) -> Exception:
    def raising() -> None:
        body = f"apikey={SECRET}"
        try:
            raise other
        except Exception:
            if is_suppressed:
                raise error from None
            raise error from ValueError(body)

    assert caught(raising) is error
    return error


ERRORS: list[tuple[BaseException, type[BaseException], str]] = [
    (httpx.ReadError("cut", request=REQUEST), httpx.ReadError, "cut"),
    (
        httpx.HTTPStatusError("no", request=REQUEST, response=httpx.Response(500, request=REQUEST)),
        httpx.HTTPStatusError,
        "no",
    ),
    (caught(lambda: REQUEST.nonsense), AttributeError, "'Request' object has no attribute 'nonsense'"),  # type: ignore[attr-defined]  # that is the error
    (caught(lambda: f"{SECRET}ё".encode().decode("ascii")), UnicodeDecodeError, "'ascii' codec can't decode byte"),
    (caught(lambda: json.loads(f"apikey={SECRET}")), json.JSONDecodeError, "Expecting value"),
    (
        ValueError(REQUEST, {SECRET: [REQUEST, SECRET.encode()]}),
        ValueError,
        "('<Request>', {'***': ['<Request>', b'***']})",
    ),
    (KeyError((1, 2.5, None, True, {REQUEST})), KeyError, "(1, 2.5, None, True, '<set>')"),
    (OSError(104, f"reset: {SECRET}", f"/tmp/{SECRET}"), ConnectionResetError, "[Errno 104] reset: ***"),
    (StopAsyncIteration(REQUEST), StopAsyncIteration, "<Request>"),
    (Picky(request=REQUEST), Exception, "Picky: apikey=***"),
    (Slotted("slotted", REQUEST), Slotted, "slotted"),
    (Unmakable(REQUEST), Exception, "Unmakable: "),
    (Mute(REQUEST), Exception, "Mute"),
    (Frozen(REQUEST), Frozen, "<Request>"),
    (with_notes(RuntimeError("noted")), RuntimeError, "noted"),
    (chained(RuntimeError("from"), httpx.ReadError("x", request=REQUEST), is_suppressed=False), RuntimeError, "from"),
    (chained(RuntimeError("None"), httpx.ReadError("x", request=REQUEST), is_suppressed=True), RuntimeError, "None"),
    (
        ExceptionGroup(SECRET, [httpx.ReadError("x", request=REQUEST), ExceptionGroup("y", [Picky(request=REQUEST)])]),
        ExceptionGroup,
        "*** (2 sub-exceptions)",
    ),
]


@pytest.mark.parametrize(("error", "kind", "text"), ERRORS, ids=lambda value: type(value).__name__)
def test_a_copy_of_an_error_holds_no_secret(
    redactor: Redactor, error: BaseException, kind: type[BaseException], text: str
) -> None:
    """It has the class and says what the error says; the error itself is left alone."""
    assert any(SECRET in held for held in held_by(error))
    copy = redactor.copy(error)
    assert not [held for held in held_by(copy) if SECRET in held]
    assert isinstance(copy, kind)
    assert text in str(copy)
    assert all(link.__traceback__ is None for link in chain(copy))
    assert any(SECRET in held for held in held_by(error))


def test_a_copy_keeps_what_holds_no_secret(redactor: Redactor) -> None:
    """Texts, numbers, notes, the chain and the group's members."""
    cause, context = OSError(111, "refused"), KeyError("x")
    error = ExceptionGroup("two", [httpx.ReadError("a"), TransportError("b", http_status=503)])
    error.add_note("a note")
    error.__cause__, error.__context__, error.__suppress_context__ = cause, context, False
    copy = redactor.copy(error)
    assert isinstance(copy, ExceptionGroup)
    assert [reason(member) for member in copy.exceptions] == ["ReadError: a", "TransportError: b"]
    assert getattr(copy.exceptions[1], "http_status", None) == 503
    assert copy.__notes__ == ["a note"]
    assert isinstance(copy.__cause__, ConnectionRefusedError)
    assert copy.__cause__.errno == 111
    assert repr(copy.__context__) == "KeyError('x')"
    assert not copy.__suppress_context__
    member = copy.exceptions[0]
    assert isinstance(member, httpx.ReadError)
    with pytest.raises(RuntimeError, match="has not been set"):  # as httpx says where there is none
        _ = member.request


def test_a_circle_of_errors_is_copied_as_one(redactor: Redactor) -> None:
    """Two that are each other's context, and a group in the context of its member."""
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__context__ = other, one
    copy = redactor.copy(one)
    assert str(copy.__context__) == "other"
    assert copy.__context__ is not None
    assert copy.__context__.__context__ is copy
    group = ExceptionGroup("group", [one])
    other.__context__ = group
    assert len(chain(redactor.copy(group))) == 3


def test_deeply_nested_values_are_left_out(redactor: Redactor) -> None:
    """A list that holds itself has no end."""
    endless: list[Any] = []
    endless.append(endless)
    assert str(redactor.copy(ValueError(endless))) == "[" * DEPTH + "'<list>'" + "]" * DEPTH


def test_bytes_that_are_no_text_stay_as_they_are(redactor: Redactor) -> None:
    assert redactor.copy(ValueError(b"\xff\x00" + SECRET.encode())).args == (b"\xff\x00***",)


@pytest.mark.parametrize(
    "error",
    [
        ApiError(77, f"who is {SECRET}?"),
        ProtocolError(f"what is {SECRET}?", status=200, excerpt=f"<{SECRET}>"),
        TransportError(f"no answer: {SECRET}", http_status=503, retry_after=5.0),
    ],
)
def test_our_own_errors_lose_their_secrets_and_nothing_else(redactor: Redactor, error: SmscError) -> None:
    """In place, with what they are chained to."""
    pending = (object(),)

    def raising() -> None:
        try:
            raise httpx.ReadError("x", request=REQUEST)
        except httpx.ReadError:
            raise error from ValueError(SECRET)

    assert caught(raising) is error
    error.pending = pending
    redactor.redact(error)
    assert not [held for held in held_by(error) if SECRET in held]
    assert "***" in str(error)
    assert error.pending[0] is pending[0]
    assert error.__suppress_context__
    assert error.__traceback__ is None
    assert reason(error.__cause__ or error) == "ValueError: ***"
    assert reason(error.__context__ or error) == "ReadError: x"
    bare = TransportError("x")
    redactor.redact(bare)
    assert bare.__cause__ is bare.__context__ is None
    assert not bare.__suppress_context__


def test_tracebacks_are_cut_in_the_whole_chain() -> None:
    """A cancellation has to stay the same object."""
    error = chained(RuntimeError("x"), ValueError("y"), is_suppressed=False)
    assert without_traceback(error) is error
    assert len(chain(error)) == 3
    assert all(link.__traceback__ is None for link in chain(error))
