"""Brings a model version into the environment that its policy asks for, and tells how well that one fits."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from headrace.config import tree
from headrace.core.environments.environment import Spec, digest, minor
from headrace.core.environments.mismatch import Report, compare, lacks
from headrace.core.errors import EnvironmentBuildFailed, EnvironmentMismatch, InterpreterMissing, RequirementRefused
from headrace.environments import running
from headrace.environments.builder import order_build
from headrace.environments.building import Order
from headrace.environments.interpreters import find_interpreter
from headrace.environments.recorded import read_spec
from headrace.environments.store import Environment, EnvironmentStore
from headrace.telemetry.logs import Log

_FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "CONDA_PREFIX", "CONDA_DEFAULT_ENV")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The environment of one version: `python` is its interpreter, `digest` None for the running one.

    `built` says whether it was built for this, and not found, `changed` whether somebody has installed or removed
    something since it was built; `took_s` is what preparing took.
    """

    policy: tree.EnvironmentPolicy
    python: str
    report: Report
    digest: str | None = None
    built: bool = False
    changed: bool = False
    took_s: float = 0.0

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The variables for a worker in this environment, from those that one in the running environment would get.

        What adds to the running interpreter's path would add to another one's too, and is left out there.
        """
        if self.digest is None:
            return dict(environ)
        made = {name: value for name, value in environ.items() if name not in _FOREIGN}
        folder = Path(self.python).parent
        made["PATH"] = os.pathsep.join([str(folder), *filter(None, [environ.get("PATH")])])
        return {**made, "VIRTUAL_ENV": str(folder.parent), "PYTHONNOUSERSITE": "1"}

    def describe(self) -> dict[str, Any]:
        """The environment as data, for `GET /api/models`."""
        return {
            "policy": self.policy,
            "python": self.python,
            "digest": self.digest,
            "built": self.built,
            "changed": self.changed,
            "prepared_in_s": round(self.took_s, 4),
            "report": [msgspec.structs.asdict(f) for f in self.report.findings],
            "mismatches": len(self.report.mismatches),
            "problem": self.report.problem,
        }


class MismatchRefused(EnvironmentMismatch):
    """An environment is there and is not what the model asks for; `prepared` has the report, and is to be released."""

    def __init__(self, prepared: Prepared) -> None:
        folder = Path(prepared.python).parent.parent
        changed = f"; it was changed after it was built: remove {folder} to have it built anew, or"
        super().__init__(
            f"the environment is not the one that the model was trained in: {prepared.report.line()}"
            f"{changed if prepared.changed else ';'} accept that with environment_mismatch: warn"
        )
        self.prepared = prepared


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A model's requirements beside the running environment and its own: `own` None where that is not built.

    `problem` says why it cannot be built either, if that is known.
    """

    running: Report
    fits: bool
    digest: str | None = None
    own: Report | None = None
    problem: str | None = None

    @property
    def as_trained(self) -> bool:
        """Whether there is an environment for the model in which it would run as it was trained."""
        return self.fits or (self.own is not None and not self.own.mismatches)

    def describe(self) -> dict[str, Any]:
        """All of it as data."""
        return {
            "running": {"fits": self.fits, "report": [msgspec.structs.asdict(f) for f in self.running.findings]},
            "own": {
                "digest": self.digest,
                "built": self.own is not None,
                "report": [msgspec.structs.asdict(f) for f in self.own.findings] if self.own else [],
            },
            "problem": self.problem,
        }


class Environments:
    """The environments below one home directory; `environ` is what the tools that build them are run with."""

    def __init__(self, home: Path, settings: tree.Environments, environ: Mapping[str, str]) -> None:
        self.store = EnvironmentStore(home, Path(settings.prebuilt) if settings.prebuilt else None)
        self._home, self._settings, self._environ = home, settings, environ

    def configure(self, settings: tree.Environments) -> None:
        """Prepare what is asked for from now on by other settings; `prebuilt` stays as it was."""
        self._settings = settings

    async def prepare(
        self, model: Path, policy: tree.EnvironmentPolicy, mismatch: tree.MismatchPolicy | None, log: Log
    ) -> Prepared:
        """Make an environment ready for the model in this directory, and keep it until it is released.

        Takes milliseconds when it is the running one or was built before: no tool is run, no network used. Raises
        RequirementRefused, InterpreterMissing, EnvironmentBuildFailed, EnvironmentMismatch where it lacks what a worker
        needs, or MismatchRefused where the report is not empty and `mismatch` (None: `warn` under local, `refuse`
        otherwise) refuses that. Cancelling ends a build.
        """
        started_s = time.monotonic()
        prepared = await asyncio.to_thread(self._here, model, policy)
        if prepared is None:
            try:
                prepared = await self._built(model, policy, log)
            except OSError as error:  # a full disk, a directory that may not be written to
                raise EnvironmentBuildFailed(f"the environment cannot be prepared: {error}") from error
        prepared = replace(prepared, took_s=time.monotonic() - started_s)
        if prepared.report.mismatches or prepared.report.problem:
            findings = [msgspec.structs.asdict(f) for f in prepared.report.mismatches]
            log.warning("environment differs", mismatches=findings, problem=prepared.report.problem)
            if (mismatch or ("warn" if policy == "local" else "refuse")) == "refuse":
                raise MismatchRefused(prepared)
        log.info(
            "environment ready",
            policy=policy,
            environment=prepared.digest or "running",
            built=prepared.built,
            took_s=round(prepared.took_s, 3),
        )
        return prepared

    def release(self, prepared: Prepared) -> None:
        """Let go of what `prepare` has given, when its last process has ended: then it may be removed."""
        if prepared.digest is not None:
            self.store.release(prepared.digest)

    def examine(self, model: Path) -> Examined:
        """Compare a model's requirements with what is there; builds nothing.

        May block on the disk, and for as long as interpreters take that are asked for their versions.
        """
        try:
            spec = read_spec(model)
        except RequirementRefused as error:
            return Examined(running=Report(problem=str(error)), fits=False, problem=str(error))
        report = compare(spec, running.installed())
        fits = not report.mismatches and not lacks(running.installed())
        try:
            spec.refuse_special(self._settings.allow)
        except RequirementRefused as error:
            return Examined(running=report, fits=fits, problem=str(error))
        own = self.store.find(self.spec_digest(spec))
        problem = None
        if own is None and not self._settings.download_interpreters:
            try:
                find_interpreter(_version(spec), self._settings.interpreters, self._environ)
            except InterpreterMissing as error:
                problem = str(error)
        return Examined(
            running=report,
            fits=fits,
            digest=self.spec_digest(spec),
            own=compare(spec, own.installed()) if own else None,
            problem=problem,
        )

    def spec_digest(self, spec: Spec) -> str:
        """The name of the environment for a spec on this machine."""
        return digest(spec, _version(spec), running.platform_name())

    def _here(self, model: Path, policy: tree.EnvironmentPolicy) -> Prepared | None:
        """The running environment, where the policy takes it for this model; otherwise None."""
        if policy == "exact":
            return None
        try:
            report = compare(read_spec(model), running.installed())
        except RequirementRefused as error:
            if policy == "compatible":
                raise
            report = Report(problem=str(error))
        here = Prepared(policy=policy, python=sys.executable, report=report)
        if policy == "local":
            return here
        return here if not report.mismatches and not lacks(running.installed()) else None

    async def _built(self, model: Path, policy: tree.EnvironmentPolicy, log: Log) -> Prepared:
        spec = await asyncio.to_thread(self._read, model)
        name = self.spec_digest(spec)
        await asyncio.to_thread(self.store.use, name)
        try:
            return await self._find_or_build(model, spec, name, policy, log)
        except BaseException:
            self.store.release(name)
            raise

    async def _find_or_build(
        self, model: Path, spec: Spec, name: str, policy: tree.EnvironmentPolicy, log: Log
    ) -> Prepared:
        found = await asyncio.to_thread(self.store.find, name)
        built = found is None
        if found is None:
            log.info("building environment", environment=name, python=spec.python, packages=_packages(spec))
            try:
                await order_build(self._order(model, spec), self._environ, log)
            finally:
                await asyncio.to_thread(self.store.discard_unfinished, name)
            found = await asyncio.to_thread(self._whole, name)
            log.info("environment built", environment=name, took_s=round(found.took_s, 2), packages=len(found.packages))
            await asyncio.to_thread(self._collect_garbage, log)
        if found.changed:
            log.warning("environment was changed after it was built", path=str(self.store.path(name)))
        missing = lacks(found.installed())
        if missing:
            advice = (
                f"something was removed from {self.store.path(name)}: remove that directory to have it built anew"
                if found.changed
                else f"the model's requirements should name {', '.join(missing)} (nothing is added silently)"
            )
            raise EnvironmentMismatch(
                f"the model's environment has no {', no '.join(missing)}, without which no pyfunc model can be served: "
                + advice
            )
        python = str(self.store.python(name))
        return Prepared(
            policy=policy,
            python=python,
            report=compare(spec, found.installed()),
            digest=name,
            built=built,
            changed=found.changed,
        )

    def _read(self, model: Path) -> Spec:
        spec = read_spec(model)
        spec.refuse_special(self._settings.allow)
        return spec

    def _whole(self, name: str) -> Environment:
        found = self.store.find(name)
        if found is None:
            raise EnvironmentMismatch(f"the environment {name} was built and is not there any more")
        return found

    def _order(self, model: Path, spec: Spec) -> Order:
        return Order(
            home=str(self._home),
            model=str(model),
            spec=spec,
            python=_version(spec),
            platform=running.platform_name(),
            settings=self._settings,
        )

    def _collect_garbage(self, log: Log) -> None:
        days, most_bytes = self._settings.max_age_days, self._settings.max_bytes
        if days is None and most_bytes is None:
            return
        for gone in self.store.prune(max_age_s=None if days is None else days * 86_400, max_bytes=most_bytes):
            log.info("environment removed", environment=gone.digest, unused_since=self.store.used_s(gone.digest))


def _version(spec: Spec) -> str:
    """The Python to build for: the recorded one, or one like the running where none was recorded."""
    return spec.python or minor(running.installed().python)


def _packages(spec: Spec) -> int:
    return len(spec.requirements.packages) + len(spec.requirements.paths)
