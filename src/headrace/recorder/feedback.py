"""Feedback that gateways hand on: given to MLflow in a thread, and answered when MLflow has it."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

from headrace.core.protocol import framing
from headrace.core.protocol.records import Feedback, FeedbackDone
from headrace.recorder.mlflow_store import NoTrace, TraceStore, is_refused, line

_TRIES, _PAUSE_S = 4, 1.0
"""A trace is written down a moment after its request: who is quick with feedback is not told that there is none."""


class FeedbackServer:
    """Answers one question a connection."""

    def __init__(self, store: TraceStore) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="feedback")

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read what one gateway asks, and answer it."""
        decoder: framing.Decoder[Feedback] = framing.Decoder(Feedback)
        with contextlib.suppress(OSError, framing.FramingError):
            while data := await reader.read(65_536):
                for given in decoder.feed(data):
                    writer.write(framing.encode(await self.give(given)))
        writer.close()

    async def give(self, given: Feedback) -> FeedbackDone:
        """Give MLflow what somebody has said."""
        loop = asyncio.get_running_loop()
        for tries_left in reversed(range(_TRIES)):
            try:
                return await loop.run_in_executor(self._threads, self._store.feedback, given)
            except NoTrace as error:
                if not tries_left:
                    return FeedbackDone("NOT_FOUND", str(error))
            except Exception as error:  # noqa: BLE001 - MLflow's client raises whatever its transport does
                if is_refused(error):
                    return FeedbackDone("BAD_REQUEST", f"MLflow refuses it: {line(error)}")
                return FeedbackDone("TEMPORARILY_UNAVAILABLE", f"MLflow did not take it; send it again: {line(error)}")
            await asyncio.sleep(_PAUSE_S)
        raise AssertionError("unreachable")
