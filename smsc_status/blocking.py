"""The client for code that is not async: a facade over `StatusClient`, which works in one background thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypedDict, Unpack, overload

from smsc_status._operations.blocking_stream import BlockingStream, opened
from smsc_status._operations.source import Messages, Refs
from smsc_status._runtime.background import call, closed_at_exit, plainly
from smsc_status.client import Stats, StatusClient, check_messages, hidden
from smsc_status.models import DataT, Detail, FailedCheck, MessageRef, StatusRecord

__all__ = ["BlockingClient", "BlockingStream"]

P = ParamSpec("P")


class CheckOptions(TypedDict, total=False):
    """See `StatusClient.check`."""

    detail: Detail | None
    max_wait: float | None
    max_age: float
    timeout: float | None


class TrackOptions(TypedDict, Generic[DataT], total=False):
    """See `StatusClient.track`."""

    until: Callable[[StatusRecord[DataT]], bool] | None
    detail: Detail | None
    eagerness: float
    look_ahead: int | None
    expire_after: float
    speed: float


Outcomes = BlockingStream[StatusRecord[DataT] | FailedCheck[DataT], DataT]


def _as(_: Callable[Concatenate[Any, P], None]) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Gives the decorated constructor the arguments of this one, for type checkers."""
    return lambda function: function


class BlockingClient:
    """`StatusClient` for code that is not async: the same arguments, the same errors.

    Use it with `with`, or keep one for the life of the program. Any thread may call it. All clients work in one
    background thread of the process, which starts with the first call, in a forked process anew, and ends at exit.
    `until` is called in that thread, and so must not call a `BlockingClient`.
    """

    @_as(StatusClient.__init__)
    def __init__(self, **options: Any) -> None:
        options = hidden(options)
        self._client = StatusClient(**options)
        closed_at_exit.add(self)

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """See `StatusClient.from_env`."""
        overrides = hidden(overrides)
        client = cls.__new__(cls)
        client._client = StatusClient.from_env(**overrides)
        closed_at_exit.add(client)
        return client

    @overload
    def check(self, id: int | str, phone: str, **options: Unpack[CheckOptions]) -> StatusRecord: ...
    @overload
    def check(self, ref: MessageRef[DataT], /, **options: Unpack[CheckOptions]) -> StatusRecord[DataT]: ...
    def check(self, id: Any, phone: str | None = None, **options: Any) -> StatusRecord[Any]:
        """See `StatusClient.check`."""
        return call(self._client.check, id, phone, **options)

    @overload
    def delete(self, id: int | str, phone: str) -> None: ...
    @overload
    def delete(self, ref: MessageRef[Any], /) -> None: ...
    def delete(self, id: Any, phone: str | None = None) -> None:
        """See `StatusClient.delete`."""
        call(self._client.delete, id, phone)

    @overload
    def stream(self, messages: Refs[DataT], *, detail: Detail | None = None) -> Outcomes[DataT]: ...
    @overload
    def stream(self, messages: Messages[DataT], *, detail: Detail | None = None) -> Outcomes[DataT | None]: ...
    def stream(self, messages: Any, *, detail: Detail | None = None) -> Outcomes[Any]:
        """See `StatusClient.stream`."""
        check_messages(messages)
        return opened(self._client.stream, messages, detail=detail)

    @overload
    def track(self, messages: Refs[DataT], **options: Unpack[TrackOptions[DataT]]) -> Outcomes[DataT]: ...
    @overload
    def track(self, messages: Messages[DataT], **o: Unpack[TrackOptions[DataT | None]]) -> Outcomes[DataT | None]: ...
    def track(self, messages: Any, **options: Any) -> Outcomes[Any]:
        """See `StatusClient.track`."""
        check_messages(messages)
        return opened(self._client.track, messages, **options)

    def stats(self) -> Stats:
        """See `StatusClient.stats`."""
        stats: Stats = call(plainly, self._client.stats)
        return stats

    def close(self) -> None:
        """See `StatusClient.aclose`."""
        call(self._client.aclose)

    def __enter__(self) -> Self:
        call(self._client.__aenter__)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        client = getattr(self, "_client", None)  # absent where the constructor raised
        return "<BlockingClient not made>" if client is None else repr(client).replace("Status", "Blocking", 1)
