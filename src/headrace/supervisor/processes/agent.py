"""The supervisor's side of the registry agent: questions with ids, a new agent when the old one ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from headrace.core.errors import HeadraceError, ModelNotFound, RegistryError, UsageError
from headrace.core.identity import Resolved, parse_model_uri
from headrace.core.processes import inheriting
from headrace.core.processes.restart import RestartPolicy
from headrace.core.protocol.liveness import Pong
from headrace.registry.messages import Done, Failed, Fetch, FromAgent, List, Listed, Promote, Resolve, Stored, ToAgent
from headrace.supervisor.processes.controlled import ControlledProcess
from headrace.telemetry.logs import Log

_PATIENCE = 12
"""A question may take so many times `timeout_s`: MLflow asks several times for one of ours, and again after an error.

What takes longer will not be answered (a registry may send a byte a second for ever), and keeps a thread of the agent.
"""

_UNREAD_S = 1.0

_ERRORS: dict[str, type[HeadraceError]] = {
    "not_found": ModelNotFound,
    "usage": UsageError,
    "unavailable": RegistryError,
}


class RegistryAgent:
    """Answers `resolve` and `fetch` through the agent process; its death or hanging shows only as RegistryError.

    `reached_s` is when a registry answered last (Unix seconds): a directory of this machine needs none.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        environ: Mapping[str, str],
        log: Log,
        timeout_s: float,
        fetch_timeout_s: float,
        hung_after_s: float | None,
    ) -> None:
        self._up = asyncio.Event()
        self._process: ControlledProcess[FromAgent] = ControlledProcess(
            "registry agent",
            "headrace.registry",
            FromAgent,
            arguments=[json.dumps(dict(settings))],
            environ=inheriting.for_agent(environ),
            log=log,
            kept="all serving",
            policy=RestartPolicy(first_s=0.5, most_s=30.0),
            hung_after_s=hung_after_s,
            on_up=self._up.set,
            on_message=self._heard,
            on_down=self._ended,
        )
        self._timeout_s = timeout_s
        self._fetch_timeout_s = fetch_timeout_s
        self._waiting: dict[int, asyncio.Future[Done]] = {}
        self._asked: dict[str, asyncio.Task[Done]] = {}
        self._serial = 0
        self.reached_s: float | None = None

    @property
    def pid(self) -> int | None:
        """The process that asks now."""
        return self._process.pid

    @property
    def restarts(self) -> int:
        """How many agents have been replaced so far."""
        return self._process.restarts.total

    async def resolve(self, uri: str, *, patient: bool = False) -> Resolved:
        """What `uri` points at now. Raises ModelNotFound, UsageError, or RegistryError (also after a time-out).

        `patient` waits longer for the very first answer: for MLflow's import, and for a database's migration check. A
        question that timed out goes on: the next one for the same URI waits for its answer instead of asking again.
        """
        done = await self._ask(uri, lambda number: Resolve(number, uri), patient=patient)
        if parse_model_uri(uri).directory is None:
            self.reached_s = time.time()
        if done.resolved is None:
            raise RegistryError("the registry agent answered a resolve without a version")
        return done.resolved

    async def fetch(self, resolved: Resolved) -> Stored:
        """Bring a version's artifacts into the store, within `fetch_timeout_s`. Raises as `resolve`."""
        done = await self._request(lambda number: Fetch(number, resolved), self._fetch_timeout_s)
        if done.stored is None:
            raise RegistryError("the registry agent answered a fetch without a model")
        return done.stored

    async def promote(self, name: str, alias: str, version: str) -> str | None:
        """Have an alias point at a version; returns what it pointed at before. Raises as `resolve`.

        After a time-out it is not known whether the registry has done it.
        """
        question = self._request(lambda number: Promote(number, name, alias, version), _PATIENCE * self._timeout_s)
        limit_s = 3 * self._timeout_s  # three calls, one after another
        try:
            async with asyncio.timeout(limit_s):
                done = await question
        except TimeoutError:
            raise RegistryError(
                f"the registry did not answer within {limit_s:g} s; look there whether the alias has moved"
            ) from None
        self.reached_s = time.time()
        return done.former

    async def list_models(self, alias: str, at_most: int) -> Listed:
        """Which registered models have `alias` now, at most so many. Raises as `resolve`."""
        done = await self._ask(f"*@{alias}", lambda number: List(number, alias, at_most), patient=True)
        self.reached_s = time.time()
        if done.listed is None:
            raise RegistryError("the registry agent answered a list without one")
        return done.listed

    async def run(self) -> None:
        """Keep an agent running until cancelled."""
        await self._process.run()

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
            async with asyncio.timeout(limit_s):
                done = await asyncio.shield(asked)
        except TimeoutError:
            raise RegistryError(f"the registry did not answer within {limit_s:g} s") from None
        return done

    def _answered(self, key: str, task: asyncio.Task[Done]) -> None:
        self._asked.pop(key, None)
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains when no one waits for it any more

    def _heard(self, message: FromAgent) -> None:
        if isinstance(message, Pong):
            return
        future = self._waiting.pop(message.id, None)
        if future is None or future.done():
            return
        if isinstance(message, Failed):
            future.set_exception(_ERRORS[message.kind](message.message))
        else:
            future.set_result(message)

    def _ended(self) -> None:
        self._up.clear()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(RegistryError("the registry agent ended; it is being restarted"))
        self._waiting.clear()

    async def _request(self, make: Callable[[int], ToAgent], within_s: float) -> Done:
        """Ask, and wait for the answer; an agent that has none within `within_s` is replaced."""
        self._serial += 1
        number = self._serial
        try:
            await self._up.wait()
            future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
            self._waiting[number] = future
            self._process.say(make(number))
            # After a pause of our own, the answer may be there and not yet read.
            for patience_s in (within_s, _UNREAD_S):
                if (await asyncio.wait({future}, timeout=patience_s))[0]:
                    return future.result()
            self._process.kill(f"the registry had not answered it for {within_s:g} s")
            raise RegistryError(f"the registry did not answer within {within_s:g} s")
        finally:
            self._waiting.pop(number, None)
