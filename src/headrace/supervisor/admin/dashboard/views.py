"""What the pages show, put together from the supervisor's state; the templates only lay it out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from headrace import __version__
from headrace.core.admin.left_out import by_reason
from headrace.core.rollout.lifecycle import State
from headrace.core.telemetry.recent import Figures
from headrace.supervisor.admin.addresses import model_url
from headrace.supervisor.admin.dashboard import charts, words
from headrace.supervisor.admin.overview import warnings
from headrace.supervisor.admin.state import ServerState
from headrace.supervisor.rollout.alias_rollout import AliasRollout
from headrace.supervisor.rollout.version import Version
from headrace.supervisor.served_model import ServedModel

_MOST_CHANGES = 12
_STEPS = (
    (State.RESOLVED, "resolved"),
    (State.FETCHED, "fetched"),
    (State.ENVIRONMENT_READY, "environment ready"),
    (State.LOADING, "loading"),
    (State.WARMING, "warming up"),
    (State.READY, "ready"),
)
_SPARK_STEPS = 6
_STYLES = ("first", "second", "third", "fourth")

Entries = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Condition:
    """How a model is, in a word; `kind` chooses the mark and the colour: good, busy or bad."""

    word: str
    kind: str


@dataclass(frozen=True)
class Row:
    """One version of a model: what it is there for, and how it does."""

    part: str
    version: Version
    figures: Figures


def top(server: ServerState) -> dict[str, Any]:
    """What every page has in its head."""
    models = list(server.models.values())
    unready = [m for m in models if not m.ready]
    gateways = len(server.gateways.pids)
    return {
        "version": __version__,
        "now_s": time.time(),
        "started_s": server.started_s,
        "draining": server.draining,
        "gateways": gateways,
        "gateway_restarts": server.gateways.restarts,
        "registry_reached_s": server.agent.reached_s,
        "needs_registry": server.wildcard is not None or any(m.main.uri.directory is None for m in models),
        "registry_problems": sum(bool(m.main.contact.problem) for m in models),
        "ready": len(models) - len(unready),
        "unready": unready,
        "models": models,
        "left_out_count": len(_left_out(server)),
    }


def _left_out(server: ServerState) -> dict[str, str]:
    return dict(server.wildcard.describe()["left_out"]) if server.wildcard is not None else {}


def overview(server: ServerState, entries: Entries) -> dict[str, Any]:
    """The page of all models."""
    recent = server.sampler.recent
    points = int(900 / 2 / _SPARK_STEPS)
    rows = [
        {
            "model": model,
            "condition": condition(model),
            "alias": alias(model.main),
            "note": note(model),
            "url": model_url(server, model.name),
            "figures": recent.figures(model.name),
            "spark": charts.spark(recent.rates(model.name, steps=_SPARK_STEPS), points),
        }
        for model in server.models.values()
    ]
    changes = [{"model": name, **entry} for name, its in entries.items() for entry in its]
    changes.sort(key=lambda entry: float(entry["at"]), reverse=True)
    return {
        **top(server),
        "rows": rows,
        "changes": changes[:_MOST_CHANGES],
        "charts": _busiest(server),
        "most_lines": len(_STYLES),
        "warnings": warnings(server),
        "left_out": by_reason(_left_out(server)),
        "left_out_more": server.wildcard is not None and server.wildcard.describe()["more"],
        "wildcard_problem": server.wildcard.problem if server.wildcard else "",
        "said": _said_of_all(server, changes[:1]),
    }


def one_model(server: ServerState, model: ServedModel, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The page of one model."""
    recent = server.sampler.recent
    prepared = model.current.prepared if model.current else None
    findings = list(prepared.report.findings) if prepared else []
    findings.sort(key=lambda f: f.verdict not in {"differs", "missing"})
    candidate = model.main.candidate
    return {
        **top(server),
        "model": model,
        "condition": condition(model),
        "alias": alias(model.main),
        "note": note(model),
        "url": model_url(server, model.name),
        "figures": recent.figures(model.name),
        "charts": _charts(server, model, entries),
        "rows": list(_rows(server, model)),
        "steps": _steps(candidate) if candidate else [],
        "candidate": candidate,
        "offered": model.main.offered,
        "bad": model.main.bad,
        "failures": model.errors(),
        "entries": entries[::-1],
        "prepared": prepared,
        "findings": findings,
        "said": _said(model),
    }


def condition(model: ServedModel) -> Condition:
    """How it is, at a glance."""
    current, candidate, main = model.current, model.main.candidate, model.main
    # What failed is tried again and again: until it comes up, it has failed.
    failed = bool(main.status.problem) and (candidate is None or _again(main))
    if model.leaving:
        return Condition("leaving", "busy")
    if current is not None and model.answers.failing:
        return Condition("failing", "bad")
    if model.ready and failed and main.blocked:
        return Condition("update failed", "busy")
    if model.ready:
        return Condition("updating", "busy") if candidate is not None else Condition("serving", "good")
    if current is not None:
        return Condition("unready" if model.unwell else "no worker", "bad")
    return Condition("failed", "bad") if failed else Condition("starting", "busy")


def note(model: ServedModel) -> str:
    """What an operator should know of a model that is not obvious; empty where there is nothing."""
    main = model.main
    parts = []
    if main.candidate is not None:
        state = dict(_STEPS).get(main.candidate.life.state, str(main.candidate.life.state).lower())
        parts.append(f"Bringing up {main.candidate.label}{' again' if _again(main) else ''}: {state}.")
    told = model.answers.describe()
    if told is not None:
        parts.append(_sentence(f"Failing for {words.span(time.time() - told['since'])}: {told['reason']}"))
    elif not model.ready and (model.current is not None or main.candidate is None):
        parts.append(_sentence(model.why_not()))
    elif main.status.problem:
        parts.append(_sentence(main.status.problem))
    if main.contact.problem and (model.ready or main.candidate is not None):
        parts.append(f"The registry cannot be followed: {_sentence(main.contact.problem)}")
    if main.paused:
        parts.append("Paused: no version changes until it is resumed.")
    if model.replicas != model.config.replicas:
        parts.append(f"Scaled from {model.config.replicas} to {model.replicas} replicas until a restart.")
    if main.held:
        parts.append("Rolled back: held until the registry points at another version.")
    canaries = {name: canary.status.problem or canary.status.missing for name, canary in model.canaries.items()}
    parts += [f"@{name}: {_sentence(problem)}" for name, problem in canaries.items() if problem]
    return " ".join(parts)


def _again(rollout: AliasRollout) -> bool:
    """Whether what comes up is what has failed already."""
    return rollout.candidate is not None and rollout.candidate.label == rollout.status.version


def alias(rollout: AliasRollout) -> str:
    """How the registry leads to what serves: an alias, a stage, a version."""
    uri = rollout.uri
    return {"alias": f"@{uri.selector}", "stage": f"stage {uri.selector}", "latest": "latest"}.get(uri.kind, "fixed")


def _rows(server: ServerState, model: ServedModel) -> Iterator[Row]:
    recent = server.sampler.recent
    seen = set()
    for name, rollout in ((None, model.main), *model.canaries.items()):
        weight = (model.config.traffic or {}).get(name or rollout.uri.selector)
        slots = (("serves", rollout.serving), ("coming", rollout.candidate), ("warm", rollout.executor.warm))
        for part, version in slots:
            if version is None or version.key in seen:
                continue
            seen.add(version.key)
            share = f", weight {weight}" if weight is not None and part == "serves" else ""
            side = f"@{name}: {part}" if name else part
            yield Row(f"{side}{share}", version, recent.figures(model.name, version.label))
        for version in rollout.executor.versions.values():
            if version.key not in seen:
                seen.add(version.key)
                yield Row("ending", version, recent.figures(model.name, version.label))


def _steps(candidate: Version) -> list[tuple[str, str]]:
    """The way up of a candidate: (what, done, now or next)."""
    states = [state for state, _ in _STEPS]
    at = states.index(candidate.life.state) if candidate.life.state in states else -1
    return [(word, "done" if i < at else "now" if i == at else "next") for i, (_, word) in enumerate(_STEPS)]


def _charts(server: ServerState, model: ServedModel, entries: list[dict[str, Any]]) -> list[charts.Chart]:
    points = server.sampler.recent.points(model.name)
    now_s = points[-1].at_s if points else 0.0
    offset_s = time.time() - time.monotonic()
    flips = [
        (e["at"] - offset_s, f"→ {e['version'].rpartition('/')[2]}")
        for e in entries
        if e["event"] == "serving" and e.get("replaced")
    ]
    at_s = [p.at_s for p in points]
    figures = [p.figures for p in points]

    def lay(title: str, series: list[charts.Series], least: float, word: Any) -> charts.Chart:
        return charts.chart(title, at_s, now_s, series, least_top=least, word=word, events=flips)

    requests = charts.Series("requests/s", "first", [f.requests_per_s for f in figures], filled=True)
    p50 = charts.Series("p50", "first", [f.p50_s for f in figures])
    p99 = charts.Series("p99", "second", [f.p99_s for f in figures])
    errors = charts.Series("errors", "failing", [f.error_rate for f in figures], filled=True)
    rejected = charts.Series("rejected", "faint", [f.rejected_rate for f in figures])
    return [
        lay("Requests per second", [requests], 1.0, words.rate),
        lay("Latency", [p50, p99], 0.001, words.milliseconds),
        lay("Errors", [errors, rejected], 0.01, words.share),
    ]


def _busiest(server: ServerState) -> list[charts.Chart]:
    """A line for each model, or for those with the most requests, in the order of the models."""
    recent = server.sampler.recent
    names = list(server.models)
    traffic = {name: sum(recent.rates(name)) for name in names}
    busiest = sorted(names, key=lambda name: -traffic[name])[: len(_STYLES)]
    points = {name: recent.points(name) for name in names if name in busiest}
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


def _said(model: ServedModel) -> str:
    """What a screen reader is told when it changes: no numbers."""
    found = condition(model)
    return f"{model.name}: {found.word}{f', {model.current.label}' if model.current else ''}"


def _said_of_all(server: ServerState, newest: list[dict[str, Any]]) -> str:
    models = server.models.values()
    changed = [f"{e['model']}: {e['event']} {e['version']}" for e in newest]
    return "; ".join([f"{sum(m.ready for m in models)} of {len(models)} models ready", *changed])


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
