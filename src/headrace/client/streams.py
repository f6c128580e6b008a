"""Predictions that come one by one: the pieces of a streamed answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Self

from headrace.client.errors import ClientError, ModelError, Unavailable
from headrace.client.events import DONE, EventReader
from headrace.client.looping import LoopThread

Opened = tuple[Iterator[Any] | AsyncIterator[bytes], Callable[[], Awaitable[None]]]
"""What opening gives: the pieces to come, and how to let go of them."""


class Pieces:
    """Reads the values out of a stream's bytes. Pure."""

    def __init__(self) -> None:
        self._reader = EventReader()
        self.ended = False
        self.count = 0

    def feed(self, data: bytes) -> list[Any]:
        """Take more bytes; return the values that are whole now. Raises ModelError if the stream says that it failed.

        Values before such an error are returned first: the error comes with the next call.
        """
        values: list[Any] = []
        for event in self._reader.feed(data):
            if event.kind == "error":
                raise _StreamError(values, _told(event.data))
            if event.data == DONE:
                self.ended = True
                break
            try:
                values.append(json.loads(event.data))
            except ValueError:
                values.append(event.data)
        self.count += len(values)
        return values


class _StreamError(Exception):
    def __init__(self, values: list[Any], error: ModelError) -> None:
        self.values = values
        self.error = error


def _told(data: str) -> ModelError:
    with contextlib.suppress(ValueError):
        value = json.loads(data)
        if isinstance(value, dict):
            return ModelError(str(value.get("message", data)), code=value.get("error_code"), status=200, tries=1)
    return ModelError(data, status=200, tries=1)


class AsyncStream:
    """The pieces of one streamed answer: ``async for piece in client.stream(...)``.

    The request is sent when the first piece is asked for, and until then it is retried like any other; afterwards
    nothing is, for the pieces that came are used already: Unavailable says that it broke off, ModelError that the model
    failed in the middle. `idle_s` is the longest time between two pieces. Leaving the loop early: `aclose`, or
    ``async with``, tells the server that nobody reads any more.
    """

    def __init__(self, open_: Callable[[], Awaitable[Opened]], idle_s: float | None) -> None:
        self._open = open_
        self._idle_s = idle_s
        self._opened: Opened | None = None
        self._pieces = Pieces()
        self._ready: list[Any] = []
        self._error: ClientError | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> Any:
        """The next piece; raises ClientError."""
        found, value = await self.take()
        if not found:
            raise StopAsyncIteration
        return value

    async def take(self) -> tuple[bool, Any]:
        """(True, the next piece), or (False, None) at the end; raises ClientError."""
        try:
            while not self._ready:
                if self._closed:
                    return False, None
                if self._error is not None:
                    raise self._error  # noqa: TRY301 - once: the stream is closed below
                if self._pieces.ended:
                    await self.aclose()
                    return False, None
                await self._read()
        except BaseException:
            await self.aclose()
            raise
        return True, self._ready.pop(0)

    async def _read(self) -> None:
        if self._opened is None:
            self._opened = await self._open()
        source = self._opened[0]
        if isinstance(source, Iterator):  # a whole answer: the model does not stream
            self._ready = list(source)
            self._pieces.ended = True
            return
        try:
            async with asyncio.timeout(self._idle_s):
                data = await anext(source, None)
        except TimeoutError:
            raise self._broken(f"nothing came for {self._idle_s:g} s") from None
        except ClientError as error:
            raise self._broken(error.message) from error
        if data is None:
            raise self._broken("its end did not come")
        try:
            self._ready = self._pieces.feed(data)
        except _StreamError as failed:
            self._ready, self._error = failed.values, failed.error

    def _broken(self, why: str) -> Unavailable:
        return Unavailable(f"the stream broke off after {self._pieces.count} pieces: {why}", status=200, tries=1)

    async def aclose(self) -> None:
        """Let go of the connection. May be called twice."""
        self._closed = True
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened[1]()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Stream:
    """`AsyncStream` for a blocking client: ``for piece in client.stream(...)``. Not for several threads at once."""

    def __init__(self, stream: AsyncStream, loop: LoopThread, client: object) -> None:
        self._stream = stream
        self._loop = loop
        self._client = client  # it ends its loop when nobody holds it any more

    def __iter__(self) -> Self:
        """Itself."""
        return self

    def __next__(self) -> Any:
        """The next piece; raises ClientError."""
        found, value = self._loop.run(self._stream.take())
        if not found:
            raise StopIteration
        return value

    def close(self) -> None:
        """Let go of the connection. May be called twice."""
        with contextlib.suppress(Unavailable):  # its client is closed, and the connection with it
            self._loop.run(self._stream.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()
