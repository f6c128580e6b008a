"""All models that the configuration names: which there are, which come, which go.

One whole configuration after another is made so (`become`). A model whose processes fit the new one goes on with them;
another is brought up beside what serves, and takes over when it is at full strength. Until then, and for as long as it
cannot, what served before serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from headrace.config.changes import needs_processes
from headrace.config.tree import Config, Model
from headrace.supervisor.making import ModelMaker
from headrace.supervisor.rollout.policy import SuccessorPolicy
from headrace.supervisor.rollout.version import Version
from headrace.supervisor.running import RunningModels
from headrace.supervisor.served_model import ServedModel
from headrace.supervisor.wildcard import Wildcard
from headrace.telemetry.logs import Log


class Fleet:
    """`models` are those that serve, by name, those of a wildcard among them; `successors` are to replace some of them.

    The only one that starts and ends what `models` of the configuration stands for. `wildcard` is there from `begin` on
    if the configuration has one.
    """

    def __init__(self, publish: Callable[[], None], log: Log) -> None:
        self.models: dict[str, ServedModel] = {}
        self.successors: dict[str, ServedModel] = {}
        self.wildcard: Wildcard | None = None
        self._leaving: list[ServedModel] = []
        self._explicit: set[str] = set()
        self._made_by: dict[ServedModel, Config] = {}
        self._running = RunningModels(publish)
        self._publish = publish
        self._log = log
        self._maker: ModelMaker
        self._config: Config

    def __repr__(self) -> str:
        return f"<Fleet {sorted(self.models)} successors={sorted(self.successors)} leaving={len(self._leaving)}>"

    def begin(self, maker: ModelMaker, config: Config) -> None:
        """Make the models that there are at the start; `run` runs them."""
        self._maker, self._config = maker, config
        for name, model in config.models.items():
            self._explicit.add(name)
            self.models[name] = maker.make(name, model, config)
            self._made_by[self.models[name]] = config
        if config.wildcard is not None:
            self.wildcard = maker.make_wildcard(
                config.wildcard, config, self.models, self._make_listed, self._running, self._publish
            )

    @property
    def listed(self) -> bool:
        """Whether it is known which models there are: always, but for a wildcard that has not yet been looked up."""
        return self.wildcard is None or self.wildcard.listed

    async def run(self) -> None:
        """Run all models until cancelled. Raises ConfigError for one of the start whose URI leads nowhere."""
        async with asyncio.TaskGroup() as tasks:
            self._running.open(tasks)
            for name in self._explicit:
                self._running.start(self.models[name], essential=True)
            if self.wildcard is not None:
                tasks.create_task(self.wildcard.run())
            await asyncio.Event().wait()

    def everything(self) -> Iterator[ServedModel]:
        """Every model that may have processes."""
        yield from (*self.models.values(), *self.successors.values(), *self._leaving)

    def describe(self) -> dict[str, Any]:
        """`pending`: why new settings of a model are not in force, by its name; `settled`: none is replaced or ends.

        `failed` has those of them that were tried and did not come up.
        """
        pending = {name: model.why_not() for name, model in self.successors.items()}
        problems = {name: model.main.status for name, model in self.successors.items()}
        failed = {name: status.problem or status.missing for name, status in problems.items()}
        return {
            "pending": pending,
            "failed": {name: why for name, why in failed.items() if why},
            "settled": not (self.successors or self._leaving),
        }

    def become(self, config: Config) -> None:
        """Have the models of this configuration, and no others; the caller publishes."""
        self._config, wildcard = config, self.wildcard
        self._maker.become(config)
        for name in self._explicit - config.models.keys():
            self._abandon(name)
            self._explicit.discard(name)
            self._retire(self.models.pop(name), "it is not in the configuration any more")
        for name, model in config.models.items():
            if name not in self._explicit and wildcard is not None:
                wildcard.release(name)
            self._explicit.add(name)
            self._have(name, model, config)
        if wildcard is not None and config.wildcard is not None:
            settings = wildcard.configure(config.wildcard, config.models, config.registry.poll_s)
            for name, model in settings.items():
                self._maker.configure(self.models[name], model, config, follows=False)

    def settle(self) -> None:
        """Let those take over that can, which is to be published then. Called whenever anything has changed."""
        for name, successor in [*self.successors.items()]:
            now, then = self.models[name].current, successor.current
            if now is None or (then is not None and then.ready >= successor.replicas):
                del self.successors[name]
                former, self.models[name] = self.models[name], successor
                self._log.info("new settings in force", model=name, version=then.label if then else None)
                self._retire(former, "it is served with other settings")

    def _have(self, name: str, model: Model, config: Config) -> None:
        served, successor = self.models.get(name), self.successors.get(name)
        if served is not None and self._fits(served, name, config):
            self._abandon(name)
            self._configure(served, model, config)
        elif successor is not None and self._fits(successor, name, config):
            self._configure(successor, model, config)
        else:
            self._abandon(name)
            policy = SuccessorPolicy(lambda: self._serves(served)) if served is not None else None
            made = self._maker.make(name, model, config, lenient=True, policy=policy)
            self._made_by[made] = config
            if served is None:
                self.models[name] = made
            else:
                self.successors[name] = made
                if model.replicas == served.config.replicas and served.main.executor.ordered is not None:
                    made.scale(
                        served.main.executor.ordered
                    )  # an operator's order, which the file has not countermanded
            self._log.info("model comes", model=name, uri=model.uri, beside=served is not None)
            self._running.start(made)

    def _fits(self, served: ServedModel, name: str, config: Config) -> bool:
        made_by = self._made_by.get(served)
        return made_by is not None and not needs_processes(name, made_by, config)

    def _serves(self, model: ServedModel) -> Version | None:
        """What a model serves; None when another has taken its place."""
        return model.current if self.models.get(model.name) is model else None

    def _configure(self, served: ServedModel, model: Model, config: Config) -> None:
        self._made_by[served] = config
        self._maker.configure(served, model, config)

    def _abandon(self, name: str) -> None:
        """A successor is not wanted any more."""
        successor = self.successors.pop(name, None)
        if successor is not None:
            self._retire(successor, "other settings are wanted now")

    def _retire(self, model: ServedModel, reason: str) -> None:
        self._leaving.append(model)
        self._log.info("model goes", model=model.name, reason=reason)
        self._running.end(model, gone=lambda: self._forget(model))

    def _forget(self, model: ServedModel) -> None:
        self._made_by.pop(model, None)
        self._leaving.remove(model)
        self._log.info("model gone", model=model.name)

    def _make_listed(self, name: str, model: Model) -> ServedModel:
        """A model of the wildcard's. Its list says which of them have moved: only those ask the registry."""
        return self._maker.make(name, model, self._config, follows=False, lenient=True)
