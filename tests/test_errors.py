"""The errors: one tree, each of which can be sent to another process and copied."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

import smsc_status
from smsc_status import errors
from smsc_status.errors import (
    AddressBlocked,
    ApiError,
    Archived,
    AuthError,
    ClientClosed,
    ConfigError,
    DatabaseUnavailable,
    DeleteError,
    LimiterUnavailable,
    LimitExceeded,
    ParametersError,
    ProtocolError,
    RateLimited,
    RequestTimeout,
    SmscError,
    TrackingEnded,
    TrackingTimeout,
    TransportError,
)

TREE: dict[type[Exception], tuple[type[BaseException], ...]] = {
    SmscError: (Exception,),
    ConfigError: (SmscError, ValueError),
    LimitExceeded: (SmscError,),
    LimiterUnavailable: (SmscError,),
    DatabaseUnavailable: (SmscError,),
    TransportError: (SmscError,),
    RequestTimeout: (TransportError, TimeoutError),
    ClientClosed: (TransportError,),
    ProtocolError: (SmscError,),
    ApiError: (SmscError,),
    ParametersError: (ApiError,),
    AuthError: (ApiError,),
    AddressBlocked: (ApiError,),
    DeleteError: (ApiError,),
    RateLimited: (ApiError, LimitExceeded),
    TrackingEnded: (SmscError,),
    Archived: (TrackingEnded,),
    TrackingTimeout: (TrackingEnded,),
}

EXAMPLES: list[SmscError] = [
    SmscError(),
    SmscError("something"),
    ConfigError("id True: expected an int or a str"),
    LimitExceeded(),
    LimitExceeded("later", 7.5),
    TransportError("cut"),
    RequestTimeout("no whole answer within 30 s"),
    ClientClosed("the client was closed"),
    TransportError("the server answered HTTP 503", http_status=503, retry_after=30.0),
    RequestTimeout("late", http_status=200, retry_after=0.0),
    ProtocolError("neither"),
    ProtocolError("neither", status=200, excerpt="<html>"),
    ProtocolError("no", status=403, retry_after=60.0),
    ApiError(77),
    ApiError(77, "no idea"),
    ParametersError(1, "parameters error"),
    AuthError(2, "authorise error"),
    AddressBlocked(4),
    DeleteError(5, "delete error"),
    RateLimited(),
    RateLimited(9, "duplicate request, wait a minute", 33.0),
    TrackingEnded("over"),
    Archived("archived"),
    TrackingTimeout("expired"),
]


def test_each_error_has_its_bases_and_is_exported() -> None:
    """Each has its bases and no others, and each is exported."""
    own = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, BaseException)}
    assert own == set(TREE)
    for cls, bases in TREE.items():
        assert cls.__bases__ == bases
        assert getattr(smsc_status, cls.__name__) is cls
        assert cls.__name__ in smsc_status.__all__
        assert errors.__doc__ is not None
        assert cls.__name__ in errors.__doc__


@pytest.mark.parametrize("error", EXAMPLES, ids=repr)
@pytest.mark.parametrize("how", ["pickle", "copy", "deepcopy"])
def test_a_copy_is_the_same_error(error: SmscError, how: str) -> None:
    """With all that it carries, also what was added later."""
    error = copy.copy(error)
    error.pending = ((1, "79990000000"), (2, "79990000000"))
    if isinstance(error, TransportError | ProtocolError | LimitExceeded):
        error.retry_after = 12.5
    if isinstance(error, ApiError):
        error.text += "!"
    other = {"pickle": lambda e: pickle.loads(pickle.dumps(e)), "copy": copy.copy, "deepcopy": copy.deepcopy}[how](
        error
    )
    assert type(other) is type(error)
    assert getattr(other, "http_status", None) == getattr(error, "http_status", None)
    assert other is not error
    assert vars(other) == vars(error)
    if not isinstance(error, ApiError):
        assert str(other) == str(error)
        assert other.args == error.args


def test_a_new_error_has_nothing_pending() -> None:
    """An error that ends one check has no more to give back."""
    assert all(error.pending == () for error in EXAMPLES)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, ParametersError),
        (2, AuthError),
        (3, ApiError),
        (4, AddressBlocked),
        (5, DeleteError),
        (6, ApiError),
        (9, RateLimited),
        (0, ApiError),
        (-1, ApiError),
    ],
)
def test_a_code_has_its_class(code: int, kind: type[ApiError]) -> None:
    """Unknown codes are kept as numbers."""
    error = ApiError.of(code, "text")
    assert type(error) is kind
    assert (error.code, error.text) == (code, "text")
    assert kind.expected_code in (code, None)
    assert str(error) == f"error {code}: text"


def test_each_error_has_a_text_for_people() -> None:
    """The text is for people; the numbers stand beside it."""
    assert str(ApiError(9)) == "error 9"
    assert str(LimitExceeded()) == "no slot comes free in time"
    assert LimitExceeded().retry_after == RateLimited().retry_after == 0.0
    assert RateLimited().code == 9
    assert str(ProtocolError("neither")) == "neither"
    assert str(ProtocolError("neither", status=403)) == "neither (HTTP 403)"
    assert str(ProtocolError("neither", excerpt="<a>")) == "neither: '<a>'"
    assert str(ProtocolError("neither", status=200, excerpt="<a>")) == "neither (HTTP 200): '<a>'"


def test_limit_exceeded_catches_a_refusal_and_a_slot_that_is_too_far_away() -> None:
    """Both say in the same way how long to wait."""
    for error in (LimitExceeded("later", 7.5), RateLimited(9, "duplicate request", 7.5), ApiError.of(9, "x")):
        with pytest.raises(LimitExceeded) as caught:
            raise error
        assert caught.value.retry_after == (0.0 if str(error) == "error 9: x" else 7.5)


def test_the_http_status_and_the_pause_that_the_server_asked_for() -> None:
    """Both kinds of errors have them under the same names; `None` where there are none."""
    for error in (
        TransportError("503", http_status=503, retry_after=30.0),
        RequestTimeout("503", http_status=503, retry_after=30.0),
        ProtocolError("503", status=503, retry_after=30.0),
    ):
        assert (error.http_status, error.retry_after) == (503, 30.0)
    for bare in (TransportError(), RequestTimeout("late"), ProtocolError("neither")):
        assert (bare.http_status, bare.retry_after) == (None, None)


def test_an_excerpt_is_bounded() -> None:
    """A megabyte of HTML is no text of an error."""
    error = ProtocolError("neither", excerpt="x" * 10**6)
    assert len(error.excerpt) == 200
    assert len(str(error)) < 300


def test_the_standard_errors_catch_ours() -> None:
    """Code that knows nothing of this library may catch `ValueError` and `TimeoutError`."""
    with pytest.raises(ValueError, match="bad"):
        raise ConfigError("bad")
    with pytest.raises(TimeoutError):
        raise RequestTimeout("late")


@pytest.mark.parametrize(
    "make",
    [
        SmscError,
        ConfigError,
        TransportError,
        ProtocolError,
        lambda text: ProtocolError("neither", status=200, excerpt=text),
        lambda text: ApiError.of(1, text),
        lambda text: ApiError.of(9, text),
        lambda text: ApiError(77, text),
    ],
)
def test_a_servers_text_is_bounded_and_has_no_control_characters(make: Callable[[str], SmscError]) -> None:
    """In whatever way an error is shown, and in the vendor's wording itself."""
    error = make("\x1b[2J\r\nforged\x9b\u202e\ud83d" + "x" * 2_000_000)
    for shown in (str(error), repr(error), getattr(error, "text", "")):
        assert len(shown) < 3000
        assert not set(shown) & set("\x1b\r\n\x9b\u202e\ud83d")
