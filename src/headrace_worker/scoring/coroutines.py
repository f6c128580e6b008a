"""Models whose `predict` is a coroutine: all calls on one event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any, Awaitable, Optional  # noqa: UP035 - runs on Python 3.8


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
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="asyncio", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(_awaited(value), self._loop).result()


async def _awaited(value: Awaitable[Any]) -> Any:
    try:
        return await value
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:  # which would end the loop, and all calls with it
        raise ModelExit(f"the model raised {type(error).__name__}({error})") from error


LOOP = EventLoop()
"""This process's: a worker has one model."""
