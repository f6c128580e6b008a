"""What the page of all models shows, put together from the supervisor's state; the templates only lay it out."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from typing import Any

from headrace import __version__
from headrace.core.admin.left_out import by_reason
from headrace.core.telemetry.recent import Figures
from headrace.supervisor.admin.addresses import model_url
from headrace.supervisor.admin.dashboard import charts, listing, words
from headrace.supervisor.admin.dashboard.conditions import condition, notices
from headrace.supervisor.admin.overview import warnings
from headrace.supervisor.admin.state import ServerState
from headrace.supervisor.admin.version_memory import VersionMemory
from headrace.supervisor.rollout.alias_rollout import AliasRollout
from headrace.supervisor.served_model import ServedModel

_MOST_CHANGES = 12
_MOST_NAMED = 5
_SPARK_STEPS = 10
_CHART_STEPS = 6
_STYLES = ("first", "second", "third", "fourth")

Histories = dict[str, list[dict[str, Any]]]


def top(server: ServerState) -> dict[str, Any]:
    """What every page has in its head."""
    models = list(server.models.values())
    unready = [m for m in models if not m.ready]
    return {
        "version": __version__,
        "now_s": time.time(),
        "started_s": server.started_s,
        "draining": server.draining,
        "gateways": len(server.gateways.pids),
        "gateway_restarts": server.gateways.restarts,
        "registry_reached_s": server.agent.reached_s,
        "needs_registry": server.wildcard is not None or any(m.main.uri.directory is None for m in models),
        "registry_problems": sum(bool(m.main.contact.problem) for m in models),
        "ready": len(models) - len(unready),
        "unready": unready,
        "most_named": _MOST_NAMED,
        "models": models,
        "left_out_count": len(_left_out(server)),
    }


def overview(server: ServerState, histories: Histories, view: listing.View, memory: VersionMemory) -> dict[str, Any]:
    """The page of all models, as `view` asks."""
    figures = {name: server.sampler.recent.figures(name) for name in server.models}
    entries = [_entry(model, figures[name], memory) for name, model in server.models.items()]
    listed = listing.arrange(entries, view)
    shown = [entry.model for group in listed.groups for entry in group.entries]
    newest = ({"model": name, **entry} for name, its in histories.items() for entry in its[-_MOST_CHANGES:])
    changes = heapq.nlargest(_MOST_CHANGES, newest, key=lambda entry: float(entry["at"]))
    return {
        **top(server),
        "view": view,
        "listed": listed,
        "rows": {model.name: _row(server, model, figures[model.name], memory) for model in shown},
        "columns": _columns(shown, memory),
        "sortable": listing.COLUMNS,
        "group_by": listing.GROUPS,
        "attention": listing.ATTENTION,
        "changes": changes,
        "charts": _busiest(server),
        "most_lines": len(_STYLES),
        "warnings": warnings(server),
        "left_out": by_reason(_left_out(server)),
        "left_out_more": server.wildcard is not None and server.wildcard.describe()["more"],
        "wildcard_problem": server.wildcard.problem if server.wildcard else "",
        "said": _said(server, listed, changes[:1]),
    }


def alias(rollout: AliasRollout) -> str:
    """How the registry leads to what serves: an alias, a stage, a version."""
    uri = rollout.uri
    return {"alias": f"@{uri.selector}", "stage": f"stage {uri.selector}", "latest": "latest"}.get(uri.kind, "fixed")


def _left_out(server: ServerState) -> dict[str, str]:
    return dict(server.wildcard.describe()["left_out"]) if server.wildcard is not None else {}


def _entry(model: ServedModel, figures: Figures, memory: VersionMemory) -> listing.Entry:
    numbers = {
        "replicas": float(model.current.ready if model.current else 0),
        "rate": figures.requests_per_s,
        "p50": figures.p50_s,
        "p99": figures.p99_s,
        "errors": figures.error_rate,
        "cache": figures.cache_hit_rate,
        "queue": float(figures.queued),
        "memory": memory.of(model.versions),
    }
    label = model.current.label if model.current else ""
    return listing.Entry(model.name, condition(model), label, numbers, model)


def _row(server: ServerState, model: ServedModel, figures: Figures, memory: VersionMemory) -> dict[str, Any]:
    rates = server.sampler.recent.rates(model.name, steps=_SPARK_STEPS)
    return {
        "alias": alias(model.main),
        "note": " ".join(one.line for one in notices(model)),
        "url": model_url(server, model.name),
        "figures": figures,
        "memory": memory.of(model.versions),
        "spark": charts.spark(rates, int(900 / 2 / _SPARK_STEPS)),
    }


def _columns(shown: list[ServedModel], memory: VersionMemory) -> list[str]:
    """The columns that say something of the rows that are shown."""
    needed = {
        "cache": any(model.config.cache for model in shown),
        "memory": any(memory.of(model.versions) is not None for model in shown),
    }
    return [column for column in listing.COLUMNS if needed.get(column, True)]


def _busiest(server: ServerState) -> list[charts.Chart]:
    """A line for each model, or for those with the most requests, in the order of the models."""
    recent = server.sampler.recent
    busiest = set(heapq.nlargest(len(_STYLES), server.models, key=recent.requests))
    points = {name: recent.points(name, steps=_CHART_STEPS) for name in server.models if name in busiest}
    at_s = [p.at_s for p in next(iter(points.values()), [])]
    now_s = at_s[-1] if at_s else 0.0

    def lay(title: str, least: float, word: Any, of: Callable[[Figures], float | None]) -> charts.Chart:
        styled = zip(_STYLES, points.items(), strict=False)
        series = [charts.Series(name, style, [of(p.figures) for p in its]) for style, (name, its) in styled]
        return charts.chart(title, at_s, now_s, series, least_top=least, word=word)

    return [
        lay("Requests per second", 1.0, words.rate, lambda f: f.requests_per_s),
        lay("Latency, p99", 0.001, words.milliseconds, lambda f: f.p99_s),
        lay("Errors", 0.01, words.share, lambda f: f.error_rate),
    ]


def _said(server: ServerState, listed: listing.Listing, newest: list[dict[str, Any]]) -> str:
    """What a screen reader is told when it changes: no numbers of traffic."""
    models = server.models.values()
    found = [f"{listed.found} listed"] if listed.found < listed.all else []
    changed = [f"{e['model']}: {e['event']} {e['version']}" for e in newest]
    return "; ".join([f"{sum(m.ready for m in models)} of {len(models)} models ready", *found, *changed])
