"""A streamed answer on its way out: its pieces, cut to size, and how much its reader lets us send."""

from __future__ import annotations

import threading
from typing import Any, Iterator, Optional, Union  # noqa: UP035 - runs on Python 3.8

from headrace_worker import wire
from headrace_worker.scoring.tracing import UNTRACED, Untraced


class Pieces:
    """A stream whose pieces the loop asks for, one at a time, while there is credit; they are made in `traced`."""

    def __init__(self, made: Iterator[bytes], traced: Untraced = UNTRACED) -> None:
        self.traced = traced
        self._made: Any = made
        self._rest = memoryview(b"")
        self._credit_bytes = wire.STREAM_WINDOW_BYTES

    @property
    def may_go_on(self) -> bool:
        """Whether the loop is to ask for a chunk."""
        return self._credit_bytes > 0

    def allow(self, size_bytes: int) -> None:
        """The reader takes so much more."""
        self._credit_bytes += size_bytes

    def chunk(self) -> Optional[Union[bytes, memoryview]]:  # noqa: UP007, UP045
        """The next chunk, counted as sent; None at the end. Raises what the model's code raises."""
        if not self._rest:
            with self.traced.here():
                piece = next(self._made, None)
            if piece is None:
                return None
            self._rest = memoryview(piece)
        chunk = self._rest[: wire.STREAM_CHUNK_BYTES]
        self._rest = self._rest[wire.STREAM_CHUNK_BYTES :]
        self.allow(-len(chunk))
        return chunk

    def close(self) -> None:
        """Nobody reads it any more. Raises what the model's code raises."""
        self.end()

    def end(self) -> None:
        """End the model's work. Raises what the model's code raises."""
        close = getattr(self._made, "close", None)
        if close is not None:
            with self.traced.here():
                close()


class PiecesApart(Pieces):
    """A stream whose pieces a thread of its own makes, which waits there for credit: the loop never asks for any."""

    def __init__(self, made: Iterator[bytes], traced: Untraced = UNTRACED) -> None:
        super().__init__(made, traced)
        self._news = threading.Condition()
        self._closed = False

    @property
    def may_go_on(self) -> bool:
        """The thread looks after that."""
        return False

    def allow(self, size_bytes: int) -> None:
        """The reader takes so much more, or (below 0) was sent so much."""
        with self._news:
            self._credit_bytes += size_bytes
            self._news.notify()

    def close(self) -> None:
        """Nobody reads it any more: `wait` says so to the thread, which is to end the model's work."""
        with self._news:
            self._closed = True
            self._news.notify()

    def wait(self) -> bool:
        """Wait for credit; False: it is closed."""
        with self._news:
            while self._credit_bytes <= 0 and not self._closed:
                self._news.wait()
            return not self._closed
