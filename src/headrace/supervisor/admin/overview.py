"""The state of all models as data, for `GET /api/models` and the dashboard."""

from __future__ import annotations

import time
from typing import Any

from headrace import __version__
from headrace.core.telemetry.recent import Figures
from headrace.supervisor.admin.addresses import model_url
from headrace.supervisor.admin.state import ServerState
from headrace.supervisor.security.anonymous import anonymous_ports
from headrace.supervisor.served_model import ServedModel


def describe_all(server: ServerState) -> dict[str, Any]:
    """The state of headrace; times are Unix seconds."""
    return {
        "headrace": __version__,
        "started": server.started_s,
        "draining": server.draining,
        "gateways": {
            "pids": server.gateways.pids,
            "restarts": server.gateways.restarts,
            "in_force": server.gateways.in_force,  # every gateway routes as the models below say
        },
        "registry": {"reached": server.agent.reached_s, "agent_pid": server.agent.pid},
        "warnings": warnings(server),
        "certificates": [one.describe() for one in server.certificates],
        "issuers": [one.describe() for one in server.access.issuers] if server.access is not None else [],
        "reload": {**server.reloads.describe(), **server.changes()},
        "wildcard": server.wildcard.describe() if server.wildcard else None,
        "models": [describe_model(server, model) for model in server.models.values()],
    }


def warnings(server: ServerState) -> list[str]:
    """Warnings for operators: what they should change."""
    found = [f"{one.path}: {one.trouble}" for one in server.certificates if one.trouble is not None]
    if server.access is not None and server.access.trouble is not None:
        found.append(f"what the files of keys hold now is not taken: {server.access.trouble}")
    issuers = server.access.issuers if server.access is not None else ()
    found += [f"auth.issuers.{one.name}: {one.trouble}" for one in issuers if one.trouble is not None]
    if server.reloads.problem:
        found.append(f"{server.reloads.file} is not in force: {server.reloads.problem}")
    pending: dict[str, str] = server.changes()["pending"]
    found += [f"the new settings of model {name!r} are not in force: {why}" for name, why in pending.items()]
    if server.audit is not None and server.audit.trouble is not None:
        found.append(f"what is changed is not written down, and orders are refused: {server.audit.trouble}")
    return found + anonymous_ports(server.config)


def describe_model(server: ServerState, model: ServedModel) -> dict[str, Any]:
    """One model: its versions, its address, and its figures of the last seconds, in total and by version."""
    recent = server.sampler.recent
    address = server.address(model.name)
    return {
        **model.describe(),
        "port": address[1] if address else None,
        "url": model_url(server, model.name),
        "now": tell(recent.figures(model.name)),
        "now_by_version": {v: tell(recent.figures(model.name, v)) for v in recent.versions(model.name)},
    }


def describe_recent(server: ServerState, name: str) -> dict[str, Any]:
    """The last 15 minutes of a model, for charts: parallel lists, in total and by version."""
    recent = server.sampler.recent
    offset_s = time.time() - time.monotonic()

    def series(version: str | None) -> dict[str, Any]:
        points = [(round(p.at_s + offset_s, 1), tell(p.figures)) for p in recent.points(name, version)]
        kept = [
            "requests_per_s", "p50_ms", "p95_ms", "p99_ms", "error_rate", "rejected_rate", "cache_hit_rate",
            "rows_per_s", "rows_per_batch", "requests_per_batch",
        ]  # fmt: skip
        return {"at": [at for at, _ in points], **{key: [told[key] for _, told in points] for key in kept}}

    return {"model": name, **series(None), "versions": {v: series(v) for v in recent.versions(name)}}


def tell(figures: Figures) -> dict[str, Any]:
    """Figures as the API has them: rounded, latencies in milliseconds."""

    def ms(seconds: float | None) -> float | None:
        return None if seconds is None else round(seconds * 1000, 3)

    def share(value: float | None) -> float | None:
        return None if value is None else round(value, 5)

    return {
        "over_s": round(figures.over_s, 1),
        "requests_per_s": round(figures.requests_per_s, 2),
        "p50_ms": ms(figures.p50_s),
        "p95_ms": ms(figures.p95_s),
        "p99_ms": ms(figures.p99_s),
        "error_rate": share(figures.error_rate),
        "rejected_rate": share(figures.rejected_rate),
        "cache_hit_rate": share(figures.cache_hit_rate),
        "rows_per_s": round(figures.rows_per_s, 2),
        "rows_per_batch": None if figures.rows_per_batch is None else round(figures.rows_per_batch, 2),
        "requests_per_batch": None if figures.requests_per_batch is None else round(figures.requests_per_batch, 2),
        "queued": figures.queued,
        "in_flight": figures.in_flight,
    }
