"""One served model: its aliases (what serves, and what takes a share of the traffic beside it) and its route."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from headrace.config import replicas as sizes
from headrace.config.traffic import shadow_of
from headrace.config.tree import Model
from headrace.core.errors import ConfigError, HeadraceError, ModelNotFound, UsageError
from headrace.core.protocol.messages import Pool, Route, Split
from headrace.core.telemetry.counts import VersionCounts
from headrace.core.telemetry.tallies import Tallies
from headrace.supervisor import wire_config
from headrace.supervisor.answer_health import AnswerHealth
from headrace.supervisor.health_probe import Prober
from headrace.supervisor.rollout.alias_rollout import AliasRollout
from headrace.supervisor.rollout.canaries import Canaries
from headrace.supervisor.rollout.canary import Neighbours
from headrace.supervisor.rollout.dependencies import Dependencies
from headrace.supervisor.rollout.history import History
from headrace.supervisor.rollout.leaving import drain
from headrace.supervisor.rollout.policy import AliasPolicy
from headrace.supervisor.rollout.version import Version
from headrace.telemetry.logs import Log


class ServedModel:
    """The owner of one configured model.

    `main` follows the configured URI; `canaries` follow the other aliases that take a share of the traffic or a copy of
    it, and what happens to them does not affect `main`. They are asked for every `canary_poll_s`. `failing` is
    `health.failing`, `tells_texts` whether texts of exceptions may be shown; `counts` gives what the gateways have
    counted. `lenient`, `policy`: see `AliasRollout`.
    """

    def __init__(
        self,
        name: str,
        config: Model,
        dependencies: Dependencies,
        history: History,
        errors_mode: str,
        log: Log,
        *,
        canary_poll_s: float,
        failing: str = "warn",
        tells_texts: bool = True,
        counts: Callable[[], Mapping[tuple[str, str], VersionCounts]] = dict,
        lenient: bool = False,
        policy: AliasPolicy | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.history = history
        self.leaving = False
        self.hazards = Tallies()
        self._dependencies = dependencies
        self._errors_mode = errors_mode
        self._log = log.bind(model=name)
        self._failing = failing
        self._tells_texts = tells_texts
        self._counts = counts
        self.answers = AnswerHealth(name, self._log, self._health_changed, tells_texts=tells_texts)
        self._tasks: asyncio.TaskGroup | None = None
        self._probing: asyncio.Task[None] | None = None
        self.prober = self._make_prober()
        self.main = AliasRollout(
            name, config.uri, config, dependencies, history, self._log,
            lenient=lenient, policy=policy, on_change=self._main_changed,
        )  # fmt: skip
        self._sides = Canaries(name, self.main, dependencies, history, self._log, canary_poll_s)
        self.canaries = self._sides.by_alias

    @property
    def aliases(self) -> list[AliasRollout]:
        """All of them, the main one first."""
        return [self.main, *self.canaries.values()]

    @property
    def versions(self) -> list[Version]:
        """Every version that has or may have processes."""
        return [v for one in self.aliases for v in one.executor.versions.values()] + self._sides.going

    @property
    def current(self) -> Version | None:
        """The version that serves."""
        return self.main.serving

    @property
    def registered_name(self) -> str | None:
        """The name that the registry knows the model by; None where the URI has none."""
        return self.main.uri.name

    @property
    def settled(self) -> bool:
        """Whether the first bring-up is over: it serves, or it has failed."""
        return self.main.settled

    @property
    def ready(self) -> bool:
        """Whether a worker can take a request now, or comes for one, and probes (if any) show that it can predict."""
        return self.current is not None and (self.current.ready > 0 or self.current.asleep) and not self.unwell

    @property
    def started(self) -> bool:
        """Whether the first bring-up is over, as far as it can be."""
        return self.main.started

    @property
    def unwell(self) -> str:
        """Why it cannot predict: probes fail, or most answers are errors and that is to count; empty while it can."""
        unwell = self.prober.unwell if self.prober is not None else ""
        return unwell or (self.answers.failing if self._failing == "unready" else "")

    def why_not(self) -> str:
        """Why the model does not serve, in one line."""
        trouble = self.current.trouble if self.current is not None else ""
        return self.unwell or (trouble and f"it could not be woken: {trouble}") or self.main.why_not()

    def refresh(self, *, anew: bool = False) -> None:
        """Ask the registry now; see `AliasRollout.refresh`."""
        for alias in self.aliases:
            alias.orders.refresh(anew=anew)

    def pause(self, reason: str) -> str:
        """Change no version, of no alias, until `resume`; returns what that means. Raises UsageError."""
        if self.current is None:
            raise UsageError(f"model {self.name!r} cannot be paused: nothing serves yet; {self.why_not()}")
        for alias in self.aliases:
            if not alias.paused:
                alias.orders.pause(reason)
        return f"paused at {self.current.label}: no version changes before 'headrace resume {self.name}'"

    def resume(self, reason: str) -> str:
        """Follow the registry again; returns what that means. Raises UsageError where it is not paused."""
        if not self.main.paused:
            raise UsageError(f"model {self.name!r} is not paused")
        for alias in self.aliases:
            alias.orders.resume(reason)
        return "follows the registry again"

    def scale(self, replicas: int | None) -> str:
        """Have so many replicas until a restart, None: as many as the settings say; returns what that means."""
        before, configured = self.replicas, sizes.in_words(self.config)
        for alias in self.aliases:
            alias.executor.scale(replicas)
        self._log.info("scaled", replicas=replicas, was=before, configured=sizes.told(self.config))
        if replicas is None:
            return f"{configured}, as configured (there were {before})"
        kept = "" if replicas == self.config.replicas else f"; a restart goes back to {configured.split(' replica')[0]}"
        if self.main.executor.bounds != sizes.bounds(self.config) and sizes.bounds(self.config).follows:
            kept += f", 'headrace scale {self.name} auto' follows the load again"
        return f"{replicas} {'replica' if replicas == 1 else 'replicas'} (there were {before}){kept}"

    async def promote(self, version: str) -> str:
        """Move the alias that it follows to a version, in the registry; returns what happens now.

        Raises UsageError where there is no alias, ModelNotFound for a version that is not there, RegistryError.
        """
        uri = self.main.uri
        if uri.kind != "alias" or uri.name is None:
            raise UsageError(f"model {self.name!r} follows {uri.text}: only an alias can be moved")
        former = await self._dependencies.registry.promote(uri.name, uri.selector, version)
        self._log.info("promoted", alias=uri.selector, version=version, was=former)
        self.refresh()
        then = "it is paused, and stays as it is until it is resumed" if self.main.paused else "it is brought up now"
        was = f"it was {former}" if former is not None else "it was not there"
        return f"the alias {uri.selector!r} of {uri.name!r} points at version {version} ({was}); {then}"

    @property
    def replicas(self) -> int:
        """How many processes of the version that serves should predict."""
        return self.main.executor.replicas

    async def run(self) -> None:
        """Follow the registry until cancelled; raises ConfigError with the path of a URI that leads nowhere."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self.main.run())
                self._start_prober()
                self._sides.run(self._tasks)
        except* ModelNotFound as group:
            raise ConfigError(f"models.{self.name}.uri", str(group.exceptions[0])) from None
        except* HeadraceError as group:
            raise group.exceptions[0] from None

    async def leave(self) -> None:
        """Take nothing more, and wait until every gateway has finished what it was given; then `run` may be ended."""
        self.leaving = True
        await drain(self._dependencies.traffic, self.versions)

    def configure(
        self, config: Model, dependencies: Dependencies, errors_mode: str, *, failing: str, canary_poll_s: float
    ) -> None:
        """Go by other settings from now on, which need no other processes; the caller publishes.

        Where `replicas` is what it was, what an operator has scaled the model to stays.
        """
        former, self.config, self._dependencies = self.config, config, dependencies
        self._errors_mode, self._failing = errors_mode, failing
        self.main.configure(config, dependencies)
        self._sides.configure(config, dependencies, canary_poll_s)
        if config.probe != former.probe:
            if self._probing is not None:
                self._probing.cancel()
            self.prober = self._make_prober()
            self._start_prober()

    def _make_prober(self) -> Prober | None:
        if self.config.probe is None:
            return None
        return Prober(self.config.probe, self._dependencies.traffic, self._log, self._health_changed)

    def _start_prober(self) -> None:
        if self.prober is not None and self._tasks is not None:
            self._probing = self._tasks.create_task(self.prober.run(lambda: self.current))

    def _health_changed(self) -> None:
        self.main.fares(well=not (self.unwell or self.answers.failing))
        self._dependencies.traffic.publish()

    def _main_changed(self) -> None:
        self.answers.flipped(self.current, self._counts())
        if self.prober is not None:
            self.prober.flipped()
        self.main.fares(well=not (self.unwell or self.answers.failing))
        self._sides.main_changed()

    def pools(self) -> list[Pool]:
        """Every version that a gateway should be connected to."""
        if self.leaving:
            return []
        going = self._sides.going
        return [pool for version in self.versions if version not in going and (pool := version.pool()) is not None]

    def route(self) -> Route:
        """Where the model's requests go now."""
        current = self.current
        return wire_config.route(
            self.name,
            self.config,
            self._errors_mode,
            pool=current.key if current else None,
            reason="" if self.ready else self.why_not(),
            unwell=self.unwell,
            failing=self.answers.failing,
            split=self._split(current) if current else None,
        )

    def _split(self, current: Version) -> Split | None:
        """How the traffic is divided; None where all of it goes to the main version."""
        candidate = self.main.candidate
        stepping = candidate is not None and candidate.share and candidate.can_answer
        step = (candidate.key, candidate.share) if candidate is not None and stepping else None
        if not (self.canaries or self.config.pin_header or step):
            return None
        behind = {self.main.uri.selector: current}
        for alias, canary in self.canaries.items():
            shared = canary.status.shared
            version = canary.serving or (shared and Neighbours(self.aliases).serving(shared))
            if version:
                behind[alias] = version
        pools = {alias: version.key for alias, version in behind.items()}
        by_version = {v.resolved.version: v.key for v in behind.values() if v.resolved.version}
        pins = {**by_version, **(pools if self.main.uri.kind == "alias" else {})}
        return wire_config.split(self.config, self.main.uri.selector, pools, pins, step)

    def _state(self) -> str:
        if self.current is not None:
            if self.answers.failing:
                return "FAILING"
            if self.ready and self.current.asleep:
                return "ASLEEP"
            return self.current.life.state if self.ready else "UNREADY"
        return "FAILED" if self.main.status.problem else "STARTING"

    def errors(self) -> list[dict[str, Any]]:
        """What its versions failed with, as data: the newest first of each; texts only where they may be told."""
        return [
            {"version": version.label, **entry}
            for version in self.versions
            for entry in version.failures.describe(texts=self._tells_texts)
        ]

    def describe(self) -> dict[str, Any]:
        """The model as data, for `GET /api/models`."""
        kept = self.config.prediction_log
        return {
            "name": self.name,
            "port": self.config.port,
            "ready": self.ready,
            "state": self._state(),
            "failing": self.answers.describe(),
            "reason": None if self.ready else self.why_not(),
            "replicas": {
                "wanted": self.replicas,
                "ready": self.current.ready if self.current else 0,
                "configured": sizes.told(self.config),
                "ordered": self.main.executor.ordered,
                "why": self.current.scaling.why if self.current and self.current.scaling.bounds.follows else None,
            },
            "probe": self.prober.describe() if self.prober is not None else None,
            "prediction_log": {"path": str(kept.path.absolute()), "format": kept.format} if kept else None,
            **self.main.describe(),
            "sides": {alias: self._describe_canary(alias, canary) for alias, canary in self.canaries.items()},
        }

    def _describe_canary(self, alias: str, canary: AliasRollout) -> dict[str, Any]:
        shadow = self.config.shadow is not None and shadow_of(self.config).alias == alias
        told = {"weight": (self.config.traffic or {}).get(alias, 0), "shadow": shadow, **canary.describe()}
        shared = canary.status.shared
        if shared is not None and Neighbours(self.aliases).serving(shared) is None:
            told["resting"] = None  # what it shared is gone, and the registry has not been asked since
        return told
