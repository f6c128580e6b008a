"""What a new configuration changes, and how each change can be made while headrace runs.

Pure: two trees in, a plan out. `supervisor.reloading` carries it out. The table at the end says of every setting which
way it goes; what is derived from settings (the options of a worker, the bounds of a gateway) is compared with it by a
property test, so that no setting that reaches a process is taken for one that does not.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.config.section import Section
from headrace.config.showing import shown
from headrace.config.traffic import WILDCARD
from headrace.config.tree import Config, Model

Path = tuple[str, ...]


class How(enum.StrEnum):
    """How a change is made. The later ones cost more."""

    LIVE = "live"
    """At once: every process goes on."""
    GATEWAYS = "new gateways"
    """New gateways take the ports over; the old ones answer what they have, and end. Models' processes go on."""
    PROCESSES = "new processes"
    """The model is brought up beside what serves, and takes over when it is ready."""
    RESTART = "restart"
    """Not while headrace runs."""


@dataclass(frozen=True)
class Change:
    """One setting: `path` is where, such as ("models", "topic", "replicas"). A model that comes or goes is one change.

    Values are not there: they may be secret. `describe` has them as they may be shown.
    """

    path: Path
    how: How

    @property
    def setting(self) -> str:
        """The path in one word, as errors name it."""
        return ".".join(self.path)

    @property
    def model(self) -> str | None:
        """The model whose section it is in; WILDCARD for the entry "*"."""
        return self.path[1] if self.path[0] == "models" and len(self.path) > 1 else None


@dataclass(frozen=True)
class Plan:
    """All that is to be done, in the order of the tree.

    `added` and `removed` are models' names. `beside` are those that stay, and need new processes; `live` those that
    stay, have changed, and keep theirs. The entry "*" is none of them: see `Change.model`.
    """

    changes: tuple[Change, ...]
    added: frozenset[str]
    removed: frozenset[str]
    beside: frozenset[str]
    live: frozenset[str]

    @property
    def refused(self) -> list[Change]:
        """What needs a restart: where there is any, nothing is done."""
        return [change for change in self.changes if change.how is How.RESTART]

    @property
    def moves_gateways(self) -> bool:
        """Whether new gateways must take over."""
        return any(change.how is How.GATEWAYS for change in self.changes)

    def touches(self, *path: str) -> bool:
        """Whether anything at or below `path` changes."""
        return any(change.path[: len(path)] == path for change in self.changes)


def plan(before: Config, after: Config) -> Plan:
    """What leads from one configuration to the other."""
    old, new = _models(before), _models(after)
    # Models that "*" has brought cannot be brought up beside themselves.
    stuck = new[WILDCARD] if WILDCARD in old and WILDCARD in new else None
    changes = [
        Change(path, How.RESTART if stuck is not None and _reaches(path, stuck) else way_of(path))
        for path in _differences((), before, after)
    ]
    for name in [*old, *(name for name in new if name not in old)]:
        path = ("models", name)
        if name in old and name in new:
            changes += [Change(one, way_of(one)) for one in _differences(path, old[name], new[name])]
        else:
            changes.append(Change(path, _how_it_comes(name, old.get(name) or new[name])))
    stay = (old.keys() & new.keys()) - {WILDCARD}
    beside = {name for name in stay if needs_processes(name, before, after)}
    return Plan(
        changes=tuple(changes),
        added=frozenset(new.keys() - old.keys() - {WILDCARD}),
        removed=frozenset(old.keys() - new.keys() - {WILDCARD}),
        beside=frozenset(beside),
        live=frozenset(c.model for c in changes if c.model in stay and c.model is not None) - beside,
    )


def needs_processes(name: str, before: Config, after: Config) -> bool:
    """Whether processes that a model was given by one configuration are of no use for the other; it is in both."""
    old, new = before.models[name], after.models[name]
    own = any(way_of(path) is How.PROCESSES for path in _differences(("models", name), old, new))
    return own or any(_reaches(path, new) for path in _differences((), before, after))


def describe(made: Plan, before: Config, after: Config) -> list[dict[str, Any]]:
    """The plan as data: a dict for each change, with the values as they may be shown (None: not set).

    `models`: which models need new processes for it.
    """
    old, new = shown(before), shown(after)
    return [
        {
            "setting": change.setting,
            "before": _told(old, change.path),
            "after": _told(new, change.path),
            "how": str(change.how),
            "models": sorted(name for name in made.beside if _concerns(change, name, after)),
        }
        for change in made.changes
    ]


def _concerns(change: Change, name: str, after: Config) -> bool:
    own = change.model == name and change.how is How.PROCESSES
    return own or _reaches(change.path, after.models[name])


def _models(config: Config) -> dict[str, Model]:
    return {**config.models, **({WILDCARD: config.wildcard} if config.wildcard is not None else {})}


def _differences(path: Path, before: Section, after: Section) -> Iterator[Path]:
    """Where two sections of one kind differ: down to values, and to sections that only one of them has."""
    for name in before.__struct_fields__:
        if not path and name in {"models", "wildcard"}:
            continue
        old, new = getattr(before, name), getattr(after, name)
        if old == new:
            continue
        if isinstance(old, Section) and type(old) is type(new):
            yield from _differences((*path, name), old, new)
        else:
            yield (*path, name)


def _told(document: Mapping[str, Any], path: Path) -> Any:
    """A value as it may be shown; of a whole model its uri."""
    found: Any = document
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found["uri"] if len(path) == 2 and path[0] == "models" and found is not None else found


def _how_it_comes(name: str, model: Model) -> How:
    """How a model is added or removed: gateways know ports and the headers that settings look at from their start."""
    if name == WILDCARD or model.prediction_log is not None:
        return How.RESTART
    looks = model.sticky_header or model.pin_header or model.queue.client_header
    return How.GATEWAYS if model.port is not None or looks else How.LIVE


def _reaches(path: Path, model: Model) -> bool:
    """Whether a setting outside of a model's section is one of its processes'."""
    if path == ("errors", "mode"):
        return model.errors is None
    return path == ("gateway", "max_body_bytes")


def way_of(path: Path) -> How:
    """The way of one setting: that of the longest entry of the table that it begins with."""
    if path[:2] == ("models", WILDCARD):
        # Every model that it has brought would change at once; what is live for one model is live for all of them.
        way = way_of(("models", "a model", *path[2:]))
        return way if way in {How.LIVE, How.GATEWAYS} else How.RESTART
    key = ("models", "", *path[2:]) if path[0] == "models" else path
    if key in _AS_A_WHOLE:
        return _AS_A_WHOLE[key]
    return next(_TABLE[key[:length]] for length in range(len(key), 0, -1) if key[:length] in _TABLE)


_MODEL = ("models", "")
_TABLE: dict[Path, How] = {
    ("registry", "tracking_uri"): How.RESTART,
    ("registry", "registry_uri"): How.RESTART,
    ("registry", "workspace"): How.RESTART,
    ("registry", "poll_s"): How.LIVE,
    ("registry", "timeout_s"): How.RESTART,
    ("registry", "fetch_timeout_s"): How.RESTART,
    ("registry", "webhook_secret"): How.LIVE,
    ("cluster",): How.RESTART,
    ("tls",): How.LIVE,
    ("tls", "handshake_timeout_s"): How.GATEWAYS,
    ("auth",): How.LIVE,
    ("auth", "proxy"): How.GATEWAYS,
    ("auth", "issuers"): How.LIVE,
    ("admin",): How.LIVE,
    ("gateway",): How.GATEWAYS,
    ("mcp",): How.LIVE,
    ("errors",): How.PROCESSES,
    ("environments",): How.LIVE,
    ("environments", "prebuilt"): How.RESTART,
    ("health", "ready"): How.LIVE,
    ("health", "failing"): How.LIVE,
    ("health", "hung_after_s"): How.RESTART,
    ("log",): How.RESTART,
    ("log", "level"): How.LIVE,
    ("telemetry",): How.RESTART,
    ("audit",): How.RESTART,
    ("home",): How.RESTART,
    ("bring_up_at_once",): How.LIVE,
    ("quotas",): How.LIVE,
    (*_MODEL, "uri"): How.PROCESSES,
    (*_MODEL, "port"): How.GATEWAYS,
    (*_MODEL, "host"): How.GATEWAYS,
    (*_MODEL, "replicas"): How.LIVE,
    (*_MODEL, "target_wait_ms"): How.LIVE,
    (*_MODEL, "idle_s"): How.LIVE,
    (*_MODEL, "timeout_s"): How.LIVE,
    (*_MODEL, "concurrency"): How.LIVE,
    (*_MODEL, "threads"): How.PROCESSES,
    (*_MODEL, "compile"): How.PROCESSES,
    (*_MODEL, "compile_s"): How.PROCESSES,
    (*_MODEL, "batch"): How.LIVE,
    (*_MODEL, "batch", "max_rows"): How.PROCESSES,
    (*_MODEL, "batch", "tolerance"): How.PROCESSES,
    (*_MODEL, "queue"): How.LIVE,
    (*_MODEL, "queue", "client_header"): How.GATEWAYS,
    (*_MODEL, "cache"): How.LIVE,
    (*_MODEL, "errors"): How.PROCESSES,
    (*_MODEL, "config"): How.PROCESSES,
    (*_MODEL, "env"): How.PROCESSES,
    (*_MODEL, "pass_env"): How.PROCESSES,
    (*_MODEL, "checks"): How.LIVE,
    (*_MODEL, "rollout"): How.LIVE,
    (*_MODEL, "probe"): How.LIVE,
    (*_MODEL, "traffic"): How.LIVE,
    (*_MODEL, "sticky_header"): How.GATEWAYS,
    (*_MODEL, "shadow"): How.LIVE,
    (*_MODEL, "pin_header"): How.GATEWAYS,
    (*_MODEL, "prediction_log"): How.RESTART,
    (*_MODEL, "environment"): How.PROCESSES,
    (*_MODEL, "environment_mismatch"): How.PROCESSES,
    (*_MODEL, "share_imports"): How.PROCESSES,
    (*_MODEL, "at_most"): How.LIVE,
}
_AS_A_WHOLE: dict[Path, How] = {
    # A port turns from plain to encrypted, begins to ask who somebody is, or looks at other headers: gateways know that
    # from their start.
    ("tls",): How.GATEWAYS,
    ("auth",): How.GATEWAYS,
    ("mcp",): How.GATEWAYS,
}
"""Where a section comes or goes as a whole, and that is another way than for what is in it."""
