"""The supervisor's side of the registry agent: questions with ids, a new agent when the old one ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from headrace.core import framing, inheriting
from headrace.core.errors import HeadraceError, ModelNotFound, RegistryError, UsageError
from headrace.core.identity import Resolved
from headrace.core.restart import RestartPolicy, Restarts
from headrace.registry.messages import (
    Done,
    Failed,
    Fetch,
    FromAgent,
    List,
    Listed,
    Ping,
    Pong,
    Resolve,
    Stored,
    ToAgent,
)
from headrace.supervisor.children import Child, describe_exit, start_controlled
from headrace.supervisor.pulse import Pulse
from headrace.telemetry.logs import Log

_PATIENCE = 12
"""A question may take so many times `timeout_s`: MLflow asks several times for one of ours, and again after an error.

What takes longer will not be answered (a registry may send a byte a second for ever), and keeps a thread of the agent.
"""

_ERRORS: dict[str, type[HeadraceError]] = {
    "not_found": ModelNotFound,
    "usage": UsageError,
    "unavailable": RegistryError,
}


class RegistryAgent:
    """Answers `resolve` and `fetch` through the agent process; its death or hanging shows only as RegistryError."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        environ: Mapping[str, str],
        log: Log,
        timeout_s: float,
        hung_after_s: float | None,
    ) -> None:
        self._settings = dict(settings)
        self._environ = inheriting.for_agent(environ)
        self._log = log
        self._timeout_s = timeout_s
        self._hung_after_s = hung_after_s
        self._pulse = Pulse()
        self._waiting: dict[int, asyncio.Future[Done]] = {}
        self._asked: dict[str, asyncio.Task[Done]] = {}
        self._serial = 0
        self._writer: asyncio.StreamWriter | None = None
        self._child: Child | None = None
        self._ended_for = ""
        self._up = asyncio.Event()
        self.restarts = Restarts(RestartPolicy(first_s=0.5, most_s=30.0))
        self.reached_s: float | None = None
        self.pid: int | None = None

    async def resolve(self, uri: str, *, patient: bool = False) -> Resolved:
        """What `uri` points at now. Raises ModelNotFound, UsageError, or RegistryError (also after a time-out).

        `patient` waits longer for the very first answer: for MLflow's import, and for a database's migration check. A
        question that timed out goes on: the next one for the same URI waits for its answer instead of asking again.
        """
        done = await self._ask(uri, lambda number: Resolve(number, uri), patient=patient)
        if done.resolved is None:
            raise RegistryError("the registry agent answered a resolve without a version")
        return done.resolved

    async def fetch(self, resolved: Resolved) -> Stored:
        """Bring a version's artifacts into the store; may take as long as the download does. Raises as `resolve`."""
        done = await self._request(lambda number: Fetch(number, resolved))
        if done.stored is None:
            raise RegistryError("the registry agent answered a fetch without a model")
        return done.stored

    async def list_models(self, alias: str, at_most: int) -> Listed:
        """Which registered models have `alias` now, at most so many. Raises as `resolve`."""
        done = await self._ask(f"*@{alias}", lambda number: List(number, alias, at_most), patient=True)
        if done.listed is None:
            raise RegistryError("the registry agent answered a list without one")
        return done.listed

    async def run(self) -> None:
        """Keep an agent running until cancelled."""
        while True:
            started_s = time.monotonic()
            how = await self._one_life()
            self._up.clear()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(RegistryError("the registry agent ended; it is being restarted"))
            self._waiting.clear()
            wait_s = self.restarts.died(time.monotonic() - started_s, random.random()) or 0.0  # noqa: S311 - spread
            self._log.warning(
                "registry agent ended",
                exit=how,
                restart_in_s=round(wait_s, 2),
                kept="all serving",
            )
            await asyncio.sleep(wait_s)

    async def _ask(self, key: str, make: Callable[[int], ToAgent], *, patient: bool) -> Done:
        """Ask once at a time for each key. Raises RegistryError where there is no answer in time."""
        more_s = 60.0 if patient and self.reached_s is None else 0.0
        limit_s = self._timeout_s + more_s
        asked = self._asked.get(key)
        if asked is None:
            question = self._request(make, _PATIENCE * self._timeout_s + more_s)
            asked = self._asked[key] = asyncio.create_task(question)
            asked.add_done_callback(lambda task: self._answered(key, task))
        try:
            done = await asyncio.wait_for(asyncio.shield(asked), limit_s)
        except TimeoutError:
            raise RegistryError(f"the registry did not answer within {limit_s:g} s") from None
        self.reached_s = time.time()
        return done

    def _answered(self, key: str, task: asyncio.Task[Done]) -> None:
        self._asked.pop(key, None)
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains when no one waits for it any more

    async def _one_life(self) -> str:
        try:
            child, reader, self._writer = await start_controlled(
                "headrace.registry", [json.dumps(self._settings)], log=self._log, environ=self._environ
            )
        except OSError as error:
            return f"not started: {error}"
        self.pid = child.pid
        self._child, self._ended_for = child, ""
        self._up.set()
        decoder: framing.Decoder[FromAgent] = framing.Decoder(FromAgent)
        self._pulse.start(self._hung_after_s, self._ping, lambda silent_s: self._hung(child, silent_s))
        try:
            with contextlib.suppress(OSError, framing.FramingError):
                while data := await reader.read(65536):
                    for message in decoder.feed(data):
                        self._heard(message)
        finally:
            self._pulse.stop()
            self._child = None
            self._writer.close()
            child.signal(signal.SIGKILL)
            code = await child.wait()
        return self._ended_for or describe_exit(code)

    def _ping(self) -> None:
        if self._writer is not None:
            self._writer.write(framing.encode(Ping()))

    def _hung(self, child: Child, silent_s: float) -> None:
        self._log.warning("registry agent hung", pid=child.pid, silent_s=round(silent_s, 1), kept="all serving")
        self._end(child, "ended by headrace: it was silent")

    def _end(self, child: Child, why: str) -> None:
        self._ended_for = self._ended_for or why
        child.signal(signal.SIGKILL)

    def _heard(self, message: FromAgent) -> None:
        self._pulse.heard()
        if isinstance(message, Pong):
            return
        future = self._waiting.pop(message.id, None)
        if future is None or future.done():
            return
        if isinstance(message, Failed):
            future.set_exception(_ERRORS[message.kind](message.message))
        else:
            future.set_result(message)

    async def _request(self, make: Callable[[int], ToAgent], within_s: float | None = None) -> Done:
        """Ask, and wait for the answer; an agent that has none within `within_s` is replaced."""
        self._serial += 1
        number = self._serial
        try:
            await self._up.wait()
            future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
            self._waiting[number] = future
            child = self._child
            if self._writer is not None:
                self._writer.write(framing.encode(make(number)))
            try:
                return await asyncio.wait_for(future, within_s)
            except TimeoutError:
                if child is not None:
                    self._end(child, f"ended by headrace: the registry had not answered it for {within_s:g} s")
                raise RegistryError(f"the registry did not answer within {within_s:g} s") from None
        finally:
            self._waiting.pop(number, None)
