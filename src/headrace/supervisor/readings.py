"""What the supervisor itself knows in numbers, beside what its gateways count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.core.totals import Sample

if TYPE_CHECKING:
    from headrace.supervisor.app import Supervisor


async def readings(supervisor: Supervisor) -> list[Sample]:
    """Every metric, as samples for `telemetry.metrics.exposition`."""
    made = await supervisor.samples()
    for (of, version, hazard), count in supervisor.hazards.items():
        made.append(("headrace_hazards_total", (("hazard", hazard), ("model", of), ("version", version)), count))
    made.append(("headrace_gateway_restarts_total", (), supervisor.gateways.restarts))
    if supervisor.agent.reached_s is not None:
        made.append(("headrace_registry_reached_timestamp_seconds", (), supervisor.agent.reached_s))
    for name, model in supervisor.models.items():
        labels = (("model", name),)
        track, current = model.main, model.current
        made.append(("headrace_model_ready", labels, float(model.ready)))
        made.append(("headrace_workers_ready", labels, float(current.ready if current else 0)))
        made.append(("headrace_registry_problem", labels, float(bool(track.registry_problem))))
        made.append(("headrace_rollbacks_total", labels, track.rollbacks))
        if current is not None:
            made.append(("headrace_version_info", (*labels, ("version", current.label)), 1.0))
            if current.workers is not None:
                restarts = current.workers.restarts.total
                made.append(("headrace_worker_restarts_total", (*labels, ("version", current.label)), restarts))
    return made
