"""What the engine and the operations tell the observer of a client. Telemetry is one; without it there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from smsc_status._runtime.http import Address
from smsc_status.errors import SmscError
from smsc_status.models import FailedCheck, StatusRecord


class StartedRequest(Protocol):
    """What is known of a request when it starts."""

    @property
    def kind(self) -> str:
        """`single`, `bulk` or `delete`."""

    @property
    def messages(self) -> int:
        """How many messages it is about."""

    @property
    def waited(self) -> float:
        """How long the message that has waited longest has waited for the limits, in seconds."""

    @property
    def address(self) -> Address:
        """Where it is sent."""

    @property
    def links(self) -> Callable[[], Iterable[object]]:
        """Gives the links of all who wait for it at that moment. A link may come more than once."""


class ObservedRequest(Protocol):
    """Is told how one request goes on."""

    def current(self) -> AbstractContextManager[object]:
        """The request is sent inside this block."""

    def replied(self, http_status: int | None, error: SmscError | None, *, seconds: float) -> None:
        """After this many seconds there is a reply, or it is known that there is none that can be used, and why."""

    def ended(self, outcome: str, error: SmscError | None) -> None:
        """It has ended, in one of the ways of `SentRequest`. Called once."""


class ObservedCall(Protocol):
    """Is told how one call of the client ends. Such a call waits for one message."""

    @property
    def link(self) -> object:
        """What the requests for this call are linked to."""

    def ended(self, outcome: StatusRecord[Any] | BaseException | None) -> None:
        """It returns this, or raises it."""


class Observer(Protocol):
    """Is told what one client does, in the client's event loop. Its methods neither raise nor wait."""

    def link(self) -> object:
        """What the requests for the calling task are linked to; `None` if there is nothing."""

    def call_started(self, operation: str) -> ObservedCall:
        """The calling task has called the client's method of this name."""

    def request_started(self, request: StartedRequest) -> ObservedRequest:
        """A request is about to be sent."""

    def came_out(self, operation: str, outcome: StatusRecord[Any] | FailedCheck[Any]) -> None:
        """A stream or a tracker has an outcome for its caller."""

    def noticed(self, record: StatusRecord[Any]) -> None:
        """A tracker has noticed a change."""

    def close(self) -> None:
        """The client is closed, or leaves its event loop."""
