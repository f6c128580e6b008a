"""Creates served models from the configuration and the parts of the running headrace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from headrace.config import tree as config_tree
from headrace.config.tree import Config, Model
from headrace.core.processes import inheriting
from headrace.core.telemetry.counts import VersionCounts
from headrace.environments.preparing import Environments
from headrace.registry.store import Store
from headrace.supervisor import wire_config
from headrace.supervisor.audit import AuditFile
from headrace.supervisor.processes.agent import RegistryAgent
from headrace.supervisor.processes.worker_control import ControlRoom
from headrace.supervisor.processes.worker_environ import worker_environ
from headrace.supervisor.processes.workers import Workers
from headrace.supervisor.processes.zygotes import Zygotes
from headrace.supervisor.rollout.dependencies import Dependencies, Traffic
from headrace.supervisor.rollout.history import History
from headrace.supervisor.rollout.policy import AliasPolicy
from headrace.supervisor.rollout.turns import Turns
from headrace.supervisor.running import RunningModels
from headrace.supervisor.served_model import ServedModel
from headrace.supervisor.wildcard import Wildcard
from headrace.telemetry.logs import Log


class ModelMaker:
    """One for each supervisor. `registry_key` names the registry among those that share `home`.

    A model that `follows` asks the registry by itself; another waits until the wildcard says so.
    """

    def __init__(
        self,
        *,
        home: Path,
        registry_key: str,
        config: Config,
        agent: RegistryAgent,
        room: ControlRoom,
        zygotes: Zygotes,
        traffic: Traffic,
        environ: Mapping[str, str],
        counts: Callable[[], Mapping[tuple[str, str], VersionCounts]],
        log: Log,
        audit: AuditFile | None,
    ) -> None:
        self._home = home
        self._registry_key = registry_key
        self._agent = agent
        self._store = Store(home, registry_key)
        self._environments = Environments(home, config.environments, environ)
        self._room = room
        self._zygotes = zygotes
        self._traffic = traffic
        self._environ = environ
        self._counts = counts
        self._log = log
        self._audit = audit
        self._turns: tuple[int | None, Turns] = (0, Turns.of(1))
        self._tell_kept_back(config)

    def become(self, config: Config) -> None:
        """Use these settings for environments from now on."""
        self._environments.configure(config.environments)

    def make(
        self,
        name: str,
        model: Model,
        config: Config,
        *,
        follows: bool = True,
        lenient: bool = False,
        policy: AliasPolicy | None = None,
    ) -> ServedModel:
        """Create a model, which does not run yet. `lenient` and `policy`: see `ServedModel`."""
        history = History(self._home, self._registry_key, model.uri, name)
        history.listener = self._audit.note_entry if self._audit is not None else None
        return ServedModel(
            name,
            model,
            self._dependencies(model, config, follows=follows),
            history,
            _errors_mode(model, config),
            self._log,
            canary_poll_s=config.registry.poll_s,
            failing=config.health.failing,
            tells_texts=config.log.exceptions == "full",
            counts=self._counts,
            lenient=lenient,
            policy=policy,
        )

    def make_wildcard(
        self,
        wildcard: config_tree.Wildcard,
        config: Config,
        models: dict[str, ServedModel],
        make: Callable[[str, Model], ServedModel],
        running: RunningModels,
        publish: Callable[[], None],
    ) -> Wildcard:
        """What adds models to `models` that the registry lists: see `Wildcard`."""
        poll_s = config.registry.poll_s
        return Wildcard(wildcard, self._agent, self._store, poll_s, models, make, running, publish, self._log)

    def configure(self, served: ServedModel, model: Model, config: Config, *, follows: bool = True) -> None:
        """Apply new settings to a model. Settings of processes apply to processes that are started from now on."""
        served.configure(
            model,
            self._dependencies(model, config, follows=follows),
            _errors_mode(model, config),
            failing=config.health.failing,
            canary_poll_s=config.registry.poll_s,
        )

    def _dependencies(self, model: Model, config: Config, *, follows: bool) -> Dependencies:
        if self._turns[0] != config.bring_up_at_once:
            self._turns = config.bring_up_at_once, Turns.of(config.bring_up_at_once)
        return Dependencies(
            registry=self._agent,
            store=self._store,
            environments=self._environments,
            make_processes=lambda spec, log, on_change, ended, again: Workers(
                spec, self._room, log, on_change, ended, again, self._zygotes
            ),
            traffic=self._traffic,
            turns=self._turns[1],
            environ=worker_environ(self._environ, model, config.registry.tracking_uri),
            kept_back=inheriting.kept_back(self._environ, model.pass_env),
            options=wire_config.worker_options(config, model),
            share_imports=wire_config.share_imports(config, model),
            poll_s=config.registry.poll_s if follows else None,
            hung_after_s=config.health.hung_after_s,
        )

    def _tell_kept_back(self, config: Config) -> None:
        models = [m for m in (*config.models.values(), config.wildcard) if m is not None]
        kept = [inheriting.kept_back(self._environ, model.pass_env) for model in models]
        names = inheriting.worth_telling(frozenset.union(*kept)) if kept else []
        if names:
            self._log.info("variables kept from models", names=names, hand_on="by pass_env, or by env")


def _errors_mode(model: Model, config: Config) -> str:
    return (model.errors or config.errors).mode
