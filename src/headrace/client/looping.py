"""An event loop in a thread of its own, for callers without one.

What is asynchronous is written once. A blocking client runs it here, which gives it exact deadlines and real
cancelling: a blocking read could be given up by nobody.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from headrace.client.errors import Unavailable

T = TypeVar("T")


class LoopThread:
    """Runs coroutines of any thread in one loop.

    The thread is a daemon: a client that was not closed ends with its process.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._closed = False
        self._last: Callable[[], Awaitable[None]] | None = None
        self._thread = threading.Thread(target=self._run, name="headrace-client", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(_cancel_all())
        if self._last is not None:
            self._loop.run_until_complete(self._last())
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns, or raise what it raises; Unavailable once the loop is closed, or when it closes.

        An interrupt of the calling thread cancels it.
        """
        with self._lock:  # what is given to a loop that has stopped would never end
            future = None if self._closed else asyncio.run_coroutine_threadsafe(work, self._loop)
        if future is None:
            work.close()
            raise Unavailable("the client is closed")
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise Unavailable("the client was closed in the middle of this call") from None
        except BaseException:
            future.cancel()
            raise

    def close(self, last: Callable[[], Awaitable[None]] | None = None, *, wait: bool = True) -> None:
        """End the loop and its thread; what still runs is cancelled. May be called twice, and from any thread.

        `last` is what is done in the loop then, before it ends. `wait` False: it ends by itself, soon.
        """
        with self._lock:
            if not self._closed:
                self._closed, self._last = True, last
                self._loop.call_soon_threadsafe(self._loop.stop)
        if wait and self._thread is not threading.current_thread():
            self._thread.join()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
