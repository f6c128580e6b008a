"""One version of a model with its source, its processes and its state."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from headrace.core.contract import about
from headrace.core.identity import Resolved, content_identity, safe_name
from headrace.core.processes.scaling import Bounds, Load, Scaling
from headrace.core.protocol.messages import FAILS_BESIDE, Failure, Pool
from headrace.core.rollout.lifecycle import Life, State
from headrace.core.telemetry.failure_book import FailureBook
from headrace.environments.preparing import Prepared
from headrace.registry.messages import Stored
from headrace.supervisor.rollout import clock
from headrace.supervisor.rollout.checks import MadeUp
from headrace.supervisor.rollout.dependencies import Processes

_MOST_HAZARDS = 32


def own_example(stored: Stored | None) -> bytes | None:
    """The body that the model was logged with as an example; None where there is none. Reads a file."""
    try:
        with Path(stored.path if stored else "", "serving_input_example.json").open("rb") as file:
            return file.read(about.MOST_EXAMPLE_BYTES + 1)
    except OSError:
        return None


class Version:
    """`key` names it in the gateways and is unique for ever; `label` is what clients see. `life` is the rollout's.

    `scaling` decides how many replicas it has.

    All else is written by its own methods only: each says what has happened to it.
    """

    def __init__(
        self, model: str, selector: str, serial: int, resolved: Resolved, life: Life, scaling: Scaling | None = None
    ) -> None:
        self.model = model
        self.scaling = scaling or Scaling(Bounds.fixed(1), 0.0)
        self.resolved = resolved
        self.life = life
        version = resolved.version or safe_name(resolved.source.rstrip("/").rpartition("/")[2])
        self.label = f"{resolved.name or model}/{version}"
        # Versions of several aliases share the gateways' name space of pools.
        self.key = f"{self.label}@{selector}#{serial}"
        self.started_s = time.monotonic()
        self.stored: Stored | None = None
        self.prepared: Prepared | None = None
        self.workers: Processes | None = None
        self.example_s: float | None = None
        self.made_up: MadeUp | None = None
        self.share = 0
        self.hazards: dict[str, int] = {}
        self.failures = FailureBook()
        self.has_served = False
        self._about: str | None = None

    def __repr__(self) -> str:
        return f"<Version {self.key} {self.life.state}>"

    def fetched(self, stored: Stored) -> None:
        """Its artifacts are on this machine."""
        self.stored = stored

    def prepared_in(self, prepared: Prepared) -> None:
        """Its environment is ready, or known to be refused."""
        self.prepared = prepared

    def run_by(self, workers: Processes) -> None:
        """These are its processes from now on."""
        self.workers = workers

    def follow(self, load: Load, now_s: float) -> bool:
        """Set the number of replicas by this load; returns whether the number has changed."""
        return self._scaled(changed=self.scaling.look(load, self.ready, now_s))

    def bound(self, bounds: Bounds, now_s: float) -> None:
        """Have so many replicas from now on."""
        self._scaled(changed=self.scaling.configure(bounds, now_s))

    def succeed(self, other: Version, now_s: float) -> None:
        """Take the load of `other` over."""
        self._scaled(changed=self.scaling.succeed(other.scaling.wanted, now_s))

    def _scaled(self, *, changed: bool) -> bool:
        if changed and self.workers is not None:
            self.workers.scale(self.scaling.wanted)
        return changed

    def measured(self, example_s: float | None) -> None:
        """The median time of its example, in seconds; None where it has none."""
        self.example_s = example_s

    def tried_made_up(self, made_up: MadeUp | None) -> None:
        """It was checked with an example made after its signature; None: it was not."""
        self.made_up = made_up
        if made_up is not None and made_up.failure is not None:
            self.failed_on([made_up.failure])

    def failed_on(self, failures: Iterable[Failure]) -> None:
        """It has failed in these ways before any client has asked it."""
        for failure in failures:
            self.failures.add(failure, time.time())

    def shares(self, percent: int) -> None:
        """It has so many percent of the traffic, beside the one that serves."""
        self.share = percent

    def serves(self) -> bool:
        """It has the traffic now; returns whether for the first time."""
        first, self.has_served = not self.has_served, True
        self.share = 0
        return first

    def count_hazard(self, told: str, count: int) -> tuple[str, bool]:
        """Count what its answers may surprise a client with; returns the name that it is counted by, and if it is new.

        A model's process says so: it may not have as many kinds as it likes.
        """
        name = told if told in self.hazards or len(self.hazards) < _MOST_HAZARDS else "other"
        is_new = name not in self.hazards
        self.hazards[name] = self.hazards.get(name, 0) + count
        return name, is_new

    @property
    def since_s(self) -> float:
        """Since when (Unix time) it is in its state."""
        return clock.unix_s(self.life.since_s)

    @property
    def signature(self) -> dict[str, Any] | None:
        """Its signature as MLflow writes it; None before it is loaded, and where it has none."""
        return self.workers.facts.get("signature") if self.workers is not None else None

    @property
    def can_answer(self) -> bool:
        """Whether it is fit for traffic: it may be given requests, now or when a worker is replaced."""
        return self.workers is not None and self.life.state in {State.READY, State.SERVING}

    @property
    def ready(self) -> int:
        """How many workers can take a request now."""
        return len(self.workers.ready) if self.workers else 0

    @property
    def asleep(self) -> bool:
        """Whether it has no replica because nobody has asked for anything: a request wakes it, or is about to have."""
        sleeps = self.can_answer and self.scaling.bounds.least == 0 and not self.ready
        return sleeps and not self.trouble

    @property
    def trouble(self) -> str:
        """Why it could not be woken, as far as is known; empty where it can, or need not."""
        if self.workers is None or self.ready or self.scaling.bounds.least > 0:
            return ""
        return self.workers.trouble

    def pool(self) -> Pool | None:
        """This version as a gateway knows it; None before it is fit for traffic."""
        if self.workers is None or not self.can_answer:
            return None
        facts, warm_up = self.workers.facts, self.workers.warm_up
        return Pool(
            key=self.key,
            model=self.model,
            label=self.label,
            mlflow_version=facts.get("mlflow_version", ""),
            identity=self._identity(),
            workers=self.workers.ready,
            mergeable=bool(facts.get("mergeable", True)) and warm_up.get("mergeable", True) is not False,
            about=self._told_about(),
            follows=self.scaling.bounds.follows,
            asleep=self.asleep,
            trouble=self.trouble,
            alone=not facts.get("threads", True) or FAILS_BESIDE in self.hazards,
        )

    def _told_about(self) -> str:
        """What the gateways can tell of the model; made once, when its facts are known."""
        if self._about is None and self.workers is not None and self.workers.facts:
            self._about = about.encode(self.workers.facts, own_example(self.stored), self.resolved.description)
        return self._about or ""

    def _identity(self) -> str:
        """The identity of what computes the answers of this version; see `Pool.identity`."""
        if self.stored is None or self.prepared is None or self.workers is None:
            return ""
        facts = self.workers.facts
        environment = [self.prepared.digest, facts.get("python_version"), facts.get("mlflow_version")]
        packages = [] if self.prepared.digest else self.prepared.describe()["report"]
        found = sorted((str(p["package"]), str(p["found"])) for p in packages)
        return content_identity(self.stored.digest, environment, found, dict(self.workers.spec.options))

    def describe(self) -> dict[str, Any]:
        """The version as data, for `GET /api/models`. Times are Unix seconds."""
        workers = self.workers
        return {
            "label": self.label,
            "name": self.resolved.name,
            "version": self.resolved.version,
            "state": self.life.state,
            "reason": self.life.reason or None,
            "since": self.since_s,
            "digest": self.stored.digest if self.stored else None,
            "load_s": workers.load_s if workers else None,
            "example_s": self.example_s,
            "made_up_example": None if self.made_up is None else {"failed": self.made_up.reason or None},
            "share": self.share or None,
            "environment": self.prepared.describe() if self.prepared else None,
            "facts": workers.facts if workers else {},
            "warm_up": workers.warm_up if workers else {},
            "compiled": workers.compiled.describe() if workers else None,
            "hazards": self.hazards,
            "ready": self.ready,
            "wanted": self.scaling.wanted,
            "processes": workers.processes if workers else [],
            "zygote": workers.zygote if workers else None,
            "restarts": workers.restarts.total if workers else 0,
        }
