"""Every metric that headrace shows: counters of gateways, state of the supervisor, usage of processes."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from headrace import __version__
from headrace.core.telemetry.totals import Labels, Sample, Totals
from headrace.supervisor.admin.process_usage import Process, Usage, weigh
from headrace.supervisor.admin.state import ServerState

if TYPE_CHECKING:
    from headrace.supervisor.rollout.version import Version
    from headrace.supervisor.served_model import ServedModel

_MOST_MISMATCHES = 50
_WORKER_STATES = ("loading", "starting", "ready", "leaving")


class Readings:
    """Reads the metrics of one server. Its own counters go through `Totals`, too: versions and models come and go."""

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._totals = Totals()
        self._usage = Usage()
        self._weighing: asyncio.Task[None] | None = None

    async def samples(self) -> list[Sample]:
        """Every metric, as samples for `telemetry.exposition`."""
        counted = await self._server.samples()
        if self._server.recorder is not None:
            counted = [*counted, *await self._server.recorder.samples()]
        self._totals.feed("supervisor", _known(self._server))
        used = self._usage.samples(processes_of(self._server))
        if self._weighing is None or self._weighing.done():
            self._weighing = asyncio.create_task(self._weigh())
        return [*counted, *self._totals.samples(), *used]

    async def _weigh(self) -> None:
        """Read what takes too long for a scrape. The next scrape has the result."""
        due = self._usage.due(time.monotonic())
        if due:
            self._usage.keep(await asyncio.to_thread(weigh, due), time.monotonic())


def _known(server: ServerState) -> Iterator[Sample]:
    gateways, agent = server.gateways, server.agent
    yield "headrace_build_info", (("version", __version__), ("python", platform.python_version())), 1.0
    yield "headrace_started_timestamp_seconds", (), server.started_s
    yield "headrace_gateways_running", (), len(gateways.pids)
    yield "headrace_supervisor_restarts_total", (), server.kept.deaths if server.kept is not None else 0
    yield "headrace_gateway_restarts_total", (), gateways.restarts
    yield "headrace_registry_agent_restarts_total", (), agent.restarts
    for reason, count in server.access.refused.items() if server.access is not None else ():
        yield "headrace_access_refused_total", (("port", "admin"), ("reason", reason)), count
    for certificate in server.certificates:
        yield from certificate.samples()
    if agent.reached_s is not None:
        yield "headrace_registry_reached_timestamp_seconds", (), agent.reached_s
    for model in list(server.models.values()):
        yield from _of_model(model)
        limit_rows = model.config.queue.max_rows * server.config.gateway.processes
        yield "headrace_queue_limit_rows", (("model", model.name),), limit_rows


def _of_model(model: ServedModel) -> Iterator[Sample]:
    labels: Labels = (("model", model.name),)
    yield "headrace_model_ready", labels, float(model.ready)
    yield "headrace_model_asleep", labels, float(model.ready and model.current is not None and model.current.asleep)
    yield "headrace_model_failing", labels, float(bool(model.answers.failing))
    yield "headrace_workers_wanted", labels, model.replicas
    if model.prober is not None:
        for label, result, count in model.prober.counts.items():
            yield "headrace_probes_total", (*labels, ("version", label), ("result", result)), count
    for label, hazard, count in model.hazards.items():
        yield "headrace_hazards_total", (*labels, ("version", label), ("hazard", hazard)), count
    yield "headrace_registry_problem", labels, float(any(alias.contact.problem for alias in model.aliases))
    yield "headrace_rollout_problem", labels, float(any(alias.blocked for alias in model.aliases))
    yield "headrace_rollbacks_total", labels, sum(alias.record.rollbacks for alias in model.aliases)
    for alias in model.aliases:
        for outcome, count in alias.executor.outcomes.items():
            yield "headrace_rollouts_total", (*labels, ("outcome", outcome)), count
        for version, ended in alias.executor.ended.items():
            for reason, count in ended.items():
                yield "headrace_worker_restarts_total", (*labels, ("version", version), ("reason", reason)), count
        if alias.serving is not None:
            yield "headrace_version_info", _info(alias.uri.text, alias.serving), 1.0
    for one in model.versions:
        yield from _of_version(one)


def _of_version(version: Version) -> Iterator[Sample]:
    labels: Labels = (("model", version.model), ("version", version.label))
    yield "headrace_version_state", (*labels, ("state", version.life.state.value)), 1.0
    if version.workers is not None:
        states = Counter(process["state"] for process in version.workers.processes)
        for state in _WORKER_STATES:
            yield "headrace_workers", (*labels, ("state", state)), states[state]
        compiled = version.workers.compiled
        if compiled.state is not None:
            yield "headrace_compiled_info", (*labels, ("state", compiled.state)), 1.0
            for result, rows in compiled.rows.items():
                yield "headrace_compiled_compared_total", (*labels, ("result", result)), rows
    if version.prepared is not None:
        report = version.prepared.report
        yield "headrace_environment_mismatches", labels, len(report.mismatches) + bool(report.problem)
        found: list[tuple[str, str, str, str]] = [
            (f.package, f.required, f.found or "", f.verdict) for f in report.mismatches
        ]
        if report.problem:
            found.append(("", "", "", "unreadable"))
        for one in found[:_MOST_MISMATCHES]:
            about = zip(("package", "required", "found", "verdict"), one, strict=True)
            yield "headrace_environment_mismatch_info", (*labels, *about), 1.0


def _info(uri: str, version: Version) -> Labels:
    facts = version.workers.facts if version.workers is not None else {}
    prepared = version.prepared
    return (
        ("model", version.model),
        ("version", version.label),
        ("uri", uri),
        ("policy", prepared.policy if prepared is not None else ""),
        ("environment", (prepared.digest or "running") if prepared is not None else ""),
        ("python", str(facts.get("python_version", ""))),
        ("mlflow", str(facts.get("mlflow_version", ""))),
    )


def processes_of(server: ServerState) -> Iterator[Process]:
    """Every running process of headrace, the keeper first."""
    if server.kept is not None:
        yield Process(server.kept.pid, "keeper")
    yield Process(os.getpid(), "supervisor")
    if server.agent.pid is not None:
        yield Process(server.agent.pid, "registry")
    if server.recorder is not None and server.recorder.pid is not None:
        yield Process(server.recorder.pid, "recorder")
    for index, pid in server.gateways.running:
        yield Process(pid, "gateway", index)
    for index, pid in enumerate(server.zygotes.pids if server.zygotes is not None else []):
        yield Process(pid, "zygote", index)
    for model in server.models.values():
        for version in model.versions:
            for one in version.workers.processes if version.workers is not None else []:
                if one["pid"] is not None:
                    yield Process(one["pid"], one["role"], one["index"], version.model, version.label)
