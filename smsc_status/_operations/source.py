"""The input of a stream or a tracker: messages from any iterable or async iterable, read in the background."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

import anyio

from smsc_status.models import DataT, MessageRef

READ_AT_ONCE = 100
"""Messages that are read before other tasks get a turn, if the input itself never waits."""

CLOSING = 10.0
"""Seconds that an input may take to close."""

MessageLike = MessageRef[DataT] | tuple[int | str, str] | tuple[int | str, str, Any]
"""A `MessageRef`, or the `(id, phone)` or `(id, phone, sent_at)` tuple of one."""

Refs = Iterable[MessageRef[DataT]] | AsyncIterable[MessageRef[DataT]]
Messages = Iterable[MessageLike[DataT]] | AsyncIterable[MessageLike[DataT]]
"""The inputs that `stream` and `track` take. A tuple has no data."""

Source = Iterator[Any] | AsyncIterator[Any]


async def read(
    source: Source,
    put_in: Callable[[Any], Awaitable[object]],
    *,
    pause: Callable[[], Awaitable[None]],
    end: Callable[[BaseException | None], None],
) -> None:
    """Read the source to its end, and close it.

    Args:
        source: what is read.
        put_in: takes each value, and waits until there is room for the next.
        pause: lets other tasks have their turn.
        end: called once when nothing more comes, with the error that the source has raised, if any.
    """
    error: BaseException | None = None
    count = 0
    at_end = StopAsyncIteration if isinstance(source, AsyncIterator) else StopIteration
    try:
        while True:
            await put_in(await anext(source) if isinstance(source, AsyncIterator) else next(source))
            count += 1
            if count % READ_AT_ONCE == 0:
                await pause()
    except at_end:
        pass
    except Exception as caught:
        error = caught
    except anyio.get_cancelled_exc_class():
        error = RuntimeError("the input was cancelled")
        raise
    except BaseException as caught:  # for example of a failing test: the caller must get it, not the background task
        error = caught
    finally:
        try:
            await close(source)
        except Exception as caught:
            error = caught if error is None else error
        end(error)


async def close(source: Source) -> None:
    """Close an async generator. On trio it is an error to leave one unfinished."""
    aclose = getattr(source, "aclose", None)
    if aclose is not None:
        with anyio.move_on_after(CLOSING, shield=True):
            await aclose()
