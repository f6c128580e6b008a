"""Models whose `predict` or `predict_stream` is a coroutine: all calls on one event loop."""

from __future__ import annotations

import asyncio
import functools
import inspect
import queue
import threading
from typing import Any, AsyncIterator, Awaitable, Callable, Iterator, Optional, Tuple  # noqa: UP035 - runs on Python 3.8

_MORE, _END, _RAISED = range(3)


class ModelExit(RuntimeError):
    """The model tried to end the process (SystemExit, KeyboardInterrupt): a failure of this request only."""


class EventLoop:
    """A loop in a thread of its own, which is started when a model first needs it; it ends with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: Optional[asyncio.AbstractEventLoop] = None  # noqa: UP045 - runs on Python 3.8

    def settled(self, value: Any) -> Any:
        """`value`, or what it comes to if it is a coroutine; raises what that raises. Waits in this thread."""
        if not inspect.iscoroutine(value):
            return value
        return asyncio.run_coroutine_threadsafe(_awaited(value), self._running()).result()

    def iterated(self, value: Any) -> Any:
        """`value`, or, if it is asynchronous, an iterator over what it gives; raises what that raises.

        Each piece is made when it is asked for, which waits in the thread that asks. `close` ends the model's work.
        """
        value = self.settled(value)
        return self._pieces(value) if hasattr(value, "__aiter__") else value

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="asyncio", daemon=True).start()
            return self._loop

    def _pieces(self, made: Any) -> Iterator[Any]:
        loop = self._running()
        reader = _Reader()
        asyncio.run_coroutine_threadsafe(reader.serve(made.__aiter__()), loop)
        try:
            while True:
                loop.call_soon_threadsafe(reader.ask)
                kind, piece = reader.given.get()
                if kind == _RAISED:
                    raise piece
                if kind == _END:
                    return
                yield piece
        finally:
            if not reader.is_over:
                loop.call_soon_threadsafe(reader.leave)
                reader.given.get()


class _Reader:
    """Goes through an asynchronous iterator, a step at a time; in one task, for it may hold what belongs to one."""

    def __init__(self) -> None:
        self.given: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.is_over = False
        self._left = False
        self._asked: Optional[asyncio.Event] = None  # noqa: UP045
        self._early = False

    def ask(self) -> None:
        """Let it make one more piece."""
        self._early = True
        if self._asked is not None:
            self._asked.set()

    def leave(self) -> None:
        """Let it end."""
        self._left = True
        self.ask()

    async def serve(self, made: AsyncIterator[Any]) -> None:
        """Give pieces as they are asked for, until there are no more."""
        self._asked = asyncio.Event()  # here: until Python 3.10 it belongs to the loop in which it is made
        if self._early:
            self._asked.set()
        while not self.is_over:
            await self._asked.wait()
            self._asked.clear()
            told: Tuple[int, Any]  # noqa: UP006
            try:
                if self._left:
                    close = getattr(made, "aclose", None)
                    if close is not None:
                        await _awaited(close())
                    told = _END, None
                else:
                    told = _MORE, await _awaited(made.__anext__())
            except StopAsyncIteration:
                told = _END, None
            except BaseException as error:  # noqa: BLE001 - it is raised where the piece was asked for
                told = _RAISED, error
            self.is_over = told[0] != _MORE
            self.given.put(told)


def streaming(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose streams may be asynchronous, as one whose streams are not."""

    @functools.wraps(function)  # MLflow looks at its parameters
    def stream(*args: Any, **kwargs: Any) -> Any:
        return LOOP.iterated(function(*args, **kwargs))

    return stream


async def _awaited(value: Awaitable[Any]) -> Any:
    try:
        return await value
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:  # which would end the loop, and all calls with it
        raise ModelExit(f"the model raised {type(error).__name__}({error})") from error


LOOP = EventLoop()
"""This process's: a worker has one model."""
