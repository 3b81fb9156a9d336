"""The errors that this library raises on purpose.

```
SmscError
    ConfigError (ValueError)          the caller's mistake, before any request
    LimitExceeded                     not now: no slot within max_wait; retry_after, in seconds
    TransportError                    no usable HTTP answer; http_status and retry_after, if known
        RequestTimeout (TimeoutError)
        ClientClosed                  the client was closed while the check waited
    ProtocolError                     an answer that can't be read; http_status, retry_after, excerpt
    ApiError                          the vendor refused the request; code, text
        ParametersError 1 · AuthError 2 · AddressBlocked 4 · DeleteError 5
        RateLimited 9 (LimitExceeded)
    TrackingEnded                     tracking of a message ended without a final status
        Archived · TrackingTimeout
    LimiterUnavailable                the limiter can't be reached; nothing is sent without it
    DatabaseUnavailable               the table's database can't be reached
```

`except LimitExceeded` catches every "not now, try again in `retry_after` seconds", since `RateLimited` is one too. All
errors can be pickled and copied, and none holds a login, a password or a key. The text of an error is one line of
limited length without control characters, whatever the server has sent, so it is safe to show and log.
"""

from __future__ import annotations

from typing import Any, ClassVar

from smsc_status._texts import one_line

EXCERPT_CHARS = 200


class SmscError(Exception):
    """The base of all errors of this library.

    If the account was refused or the client was closed, `pending` holds the messages that were put in and not answered,
    ready to be put in again: all of a stream's, or the one of a `check` or a `delete`.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))
        self.pending: tuple[Any, ...] = ()


class ConfigError(SmscError, ValueError):
    """A value can't be used. Raised before anything is sent. The text names the value and what was expected."""


class LimitExceeded(SmscError):
    """The limits leave no slot for this check within its `max_wait`. If it is a `RateLimited`, the vendor refused it.

    `retry_after` is the number of seconds until a slot may come free, as far as is known now; at least 0.
    """

    def __init__(self, message: str = "no slot comes free in time", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.retry_after), self.__dict__


class TransportError(SmscError):
    """No usable HTTP answer: the connection failed or was cut, or the server asked to try later or sent nothing.

    `http_status` is the HTTP status. `retry_after` is how many seconds to wait before another try, as the server asked
    or as far as is known here. Each is `None` if not known. `__cause__` is a copy of httpx's error, without the
    request, the response and the traceback.
    """

    def __init__(self, message: str = "", *, http_status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.retry_after = retry_after


class RequestTimeout(TransportError, TimeoutError):
    """No complete answer within the time-out. The request may still have reached the server."""


class ClientClosed(TransportError):
    """The client was closed while this check waited. A request in flight may still have reached the server."""


class ProtocolError(SmscError):
    """An answer can't be read.

    `status`, also called `http_status`, is the HTTP status; `None` where it does not matter. `excerpt` holds at most
    200 characters of the answer. `retry_after` is as in `TransportError`.
    """

    def __init__(
        self, message: str, *, status: int | None = None, excerpt: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason: str = one_line(message)
        self.status = status
        self.excerpt: str = excerpt[:EXCERPT_CHARS]
        self.retry_after = retry_after

    @property
    def http_status(self) -> int | None:
        """The HTTP status, as `TransportError` calls it."""
        return self.status

    def __str__(self) -> str:
        where = f" (HTTP {self.status})" if self.status is not None else ""
        return f"{self.reason}{where}: {self.excerpt!r}" if self.excerpt else f"{self.reason}{where}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), (self.reason,), {"status": self.status, "excerpt": self.excerpt}, self.__dict__)


class ApiError(SmscError):
    """The vendor refused the request.

    `code` is the vendor's number. `text` is its wording, in one line of at most 200 characters; it changes over time,
    so decide by the number only. A code with a class of its own is raised as that class; see `ApiError.of`.
    """

    expected_code: ClassVar[int | None] = None

    def __init__(self, code: int, text: str = "") -> None:
        text = one_line(text, EXCERPT_CHARS)
        super().__init__(f"error {code}: {text}" if text else f"error {code}")
        self.code = code
        self.text = text

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.text), self.__dict__

    @staticmethod
    def of(code: int, text: str = "") -> ApiError:
        """The error of this code, of the code's own class if it has one."""
        return _BY_CODE.get(code, ApiError)(code, text)


class ParametersError(ApiError):
    """Code 1: the vendor can't use a parameter."""

    expected_code: ClassVar[int | None] = 1


class AuthError(ApiError):
    """Code 2: wrong credentials, or an IP address that the account does not allow. Concerns the whole account."""

    expected_code: ClassVar[int | None] = 2


class AddressBlocked(ApiError):
    """Code 4: the vendor has blocked this IP address for a time. Concerns the whole account."""

    expected_code: ClassVar[int | None] = 4


class DeleteError(ApiError):
    """Code 5: the message can't be deleted."""

    expected_code: ClassVar[int | None] = 5


class RateLimited(ApiError, LimitExceeded):
    """Code 9: the vendor counted too many requests.

    `retry_after` is the number of seconds until a slot may come free, as far as is known now; at least 0.
    """

    expected_code: ClassVar[int | None] = 9

    def __init__(self, code: int = 9, text: str = "", retry_after: float = 0.0) -> None:
        super().__init__(code, text)
        self.retry_after = retry_after


class TrackingEnded(SmscError):
    """Tracking of a message ended without a final status."""


class Archived(TrackingEnded):
    """The vendor moved the message to its archive before a final status was read."""


class TrackingTimeout(TrackingEnded):
    """The message was tracked for as long as was asked, and did not become final."""


class LimiterUnavailable(SmscError):
    """The limiter could not be reached within this check's `max_wait` or `timeout`. Nothing is sent without it.

    `__cause__` is the limiter's error.
    """


class DatabaseUnavailable(SmscError):
    """The database of the table could not be reached when the work began.

    If it can't be reached later, nothing is raised: the work waits for it.
    """


_BY_CODE: dict[int, type[ApiError]] = {
    cls.expected_code: cls
    for cls in (ParametersError, AuthError, AddressBlocked, DeleteError, RateLimited)
    if cls.expected_code is not None
}


def _rebuild(cls: type[SmscError], args: tuple[Any, ...], kwargs: dict[str, Any], state: dict[str, Any]) -> SmscError:
    error = cls(*args, **kwargs)
    error.__dict__.update(state)
    return error
