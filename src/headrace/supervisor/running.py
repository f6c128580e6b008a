"""Runs served models, each in a task of its own, and ends them: those of the configuration and those of a wildcard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headrace.supervisor.rollout.leaving import end_task
from headrace.supervisor.served_model import ServedModel


class RunningModels:
    """The tasks are held by the group that `open` is given. `publish` sends the routes, as they are then."""

    def __init__(self, publish: Callable[[], None]) -> None:
        self._publish = publish
        self._running: dict[ServedModel, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """Run models in this group from now on."""
        self._tasks = tasks

    def start(self, model: ServedModel, *, essential: bool = False) -> None:
        """Run a model. Where it breaks, all models end if it is `essential`; otherwise it alone does."""
        self._running[model] = self._tasks.create_task(model.run() if essential else self._run(model))

    def end(self, model: ServedModel, *, gone: Callable[[], None], left: Callable[[], None] | None = None) -> None:
        """Have a model end. `left` is called when it has answered all it was given, `gone` when its task has ended."""
        self._tasks.create_task(self._end(model, gone, left))

    async def _end(self, model: ServedModel, gone: Callable[[], None], left: Callable[[], None] | None) -> None:
        await model.leave()
        if left is not None:
            left()
        await end_task(self._running.pop(model))
        gone()

    async def _run(self, model: ServedModel) -> None:
        try:
            await model.run()
        except Exception as error:  # noqa: BLE001 - one model is not worth the others
            model.main.record.broke("a model broke", error, None)
            self._publish()
