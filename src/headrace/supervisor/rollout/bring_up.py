"""Brings a version up: fetches it, prepares its environment, loads it, warms it up and checks it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.config.tree import Model
from headrace.core.errors import ModelLoadError
from headrace.core.protocol.messages import Failure
from headrace.core.rollout.lifecycle import State
from headrace.environments.preparing import MismatchRefused
from headrace.supervisor.rollout.checks import Checker, Former, check_compiled
from headrace.supervisor.rollout.dependencies import Dependencies, Processes
from headrace.supervisor.rollout.version import Version
from headrace.telemetry.logs import Log


@dataclass(frozen=True)
class Surroundings:
    """What a version on its way up tells its rollout, and asks it.

    `progressed` takes each state that it reaches, `until` waits for a condition on its workers, `serves` says whether
    there is a version that it is to replace, `former` which one it is compared with (None: with none), and
    `has_fallback` whether refusing it leaves another.
    """

    progressed: Callable[[State], None]
    until: Callable[[Callable[[], bool]], Awaitable[None]]
    serves: Callable[[], bool]
    former: Callable[[], Former | None]
    has_fallback: Callable[[], bool]


async def fetch_again(version: Version, dependencies: Dependencies, log: Log) -> str:
    """The directory of a version that has been loaded before, for another load: verified, fetched again where need be.

    Raises HeadraceError where it is damaged and cannot be had again as it was.
    """
    stored = version.stored
    if stored is None:
        raise ModelLoadError("it was never fetched")
    if not await asyncio.to_thread(dependencies.store.is_whole, stored):
        log.error("artifacts damaged", path=stored.path, reason="files of the cache have changed; fetching them again")
        again = await dependencies.registry.fetch(version.resolved)
        if again.digest != stored.digest:
            raise ModelLoadError(f"the copy in {stored.path} is damaged, and its source holds something else by now")
    return stored.path


async def bring_up(
    version: Version,
    workers: Processes,
    config: Model,
    dependencies: Dependencies,
    checker: Checker,
    around: Surroundings,
    log: Log,
) -> None:
    """Bring a version to READY. Raises HeadraceError with the reason where that fails, Refused where a check says no.

    Only what takes memory and cores waits for its turn (see `turns`): a slow download holds up nobody else.
    """
    stored = await asyncio.to_thread(dependencies.store.find, version.resolved)
    stored = stored or await dependencies.registry.fetch(version.resolved)
    version.fetched(stored)
    around.progressed(State.FETCHED)
    try:
        prepared = await dependencies.environments.prepare(
            Path(stored.path), config.environment, config.environment_mismatch, log
        )
    except MismatchRefused as error:
        version.prepared_in(error.prepared)  # to be told as data
        raise
    version.prepared_in(prepared)
    around.progressed(State.ENVIRONMENT_READY)
    async with dependencies.turns.turn():
        around.progressed(State.LOADING)
        workers.load(stored.path, prepared, verified=True)
        await around.until(lambda: workers.load_s is not None)
        around.progressed(State.WARMING)
        await around.until(lambda: bool(workers.ready))
        if config.compile == "require":
            check_compiled(workers)
        is_successor = around.serves()
        failures = [one.failure(int(workers.warm_up.get("status") or 500)) for one in workers.raised]
        version.failed_on(failures)
        version.measured(
            await checker.check(workers, stored.path, around.former(), strictly=around.has_fallback()),
        )
        if workers.warm_up.get("ok") is False:
            log.warning(
                "example fails", **{k: v for k, v in workers.warm_up.items() if k != "ok"}, **_exception(failures)
            )
        version.tried_made_up(await checker.try_made_up(workers))
        if version.made_up is not None and version.made_up.failed:
            failures = [version.made_up.failure] if version.made_up.failure is not None else []
            log.warning("made-up example fails", reason=version.made_up.reason, **_exception(failures))
        if is_successor:  # it takes over at full strength; the first serves as soon as it can
            await around.until(lambda: len(workers.ready) >= workers.spec.replicas)
        around.progressed(State.READY)


def _exception(failures: Sequence[Failure]) -> dict[str, str]:
    """The traceback, as a field of a log event. It contains no data of a client."""
    return {"exception": failures[0].traceback} if failures and failures[0].traceback else {}
