"""What the page of one model shows, put together from the supervisor's state; the template only lays it out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from headrace.core.telemetry.counts import VersionCounts
from headrace.core.telemetry.recent import Figures
from headrace.supervisor.admin.addresses import model_url
from headrace.supervisor.admin.dashboard import charts, words
from headrace.supervisor.admin.dashboard.conditions import STEPS, Notice, condition, notices, side
from headrace.supervisor.admin.dashboard.listing import Condition
from headrace.supervisor.admin.dashboard.views import alias, top
from headrace.supervisor.admin.examples import fields_of
from headrace.supervisor.admin.state import ServerState
from headrace.supervisor.admin.version_memory import VersionMemory
from headrace.supervisor.rollout.alias_rollout import AliasRollout
from headrace.supervisor.rollout.status import Kind
from headrace.supervisor.rollout.version import Version
from headrace.supervisor.served_model import ServedModel


@dataclass(frozen=True)
class Row:
    """One version of a model: what it is there for, and how it does."""

    part: str
    version: Version
    figures: Figures
    memory_bytes: int | None


@dataclass(frozen=True)
class Side:
    """Another alias than the main one, over the last 15 minutes beside it.

    `label` is the version that it has, or had when it failed; `copies` are counts of a shadow's, by result.
    """

    alias: str
    what: str
    weight: int
    condition: Condition
    label: str
    figures: Figures | None
    copies: dict[str, float]
    candidate: Version | None


def one_model(
    server: ServerState, model: ServedModel, entries: list[dict[str, Any]], memory: VersionMemory
) -> dict[str, Any]:
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
        "notices": [one for one in notices(model) if one.kind != "busy" or candidate is None or not _is_step(one)],
        "url": model_url(server, model.name),
        "figures": recent.figures(model.name),
        "memory": memory.of(model.versions),
        "charts": _charts(server, model, entries),
        "rows": list(_rows(server, model, memory)),
        "steps": _steps(candidate) if candidate else [],
        "candidate": candidate,
        "sides": [_side(server, model, name, rollout) for name, rollout in model.canaries.items()],
        "main_past": _past(server, model, model.current.label) if model.current and model.canaries else None,
        "offered": model.main.offered,
        "bad": model.main.bad,
        "failures": model.errors(),
        "entries": entries[::-1],
        "signature": fields_of(model).digest,
        "prepared": prepared,
        "findings": findings,
        "said": _said(model),
    }


def _is_step(notice: Notice) -> bool:
    """Whether the strip of steps says the same."""
    return notice.title.startswith("Bringing up")


def _rows(server: ServerState, model: ServedModel, memory: VersionMemory) -> Iterator[Row]:
    recent = server.sampler.recent
    seen = set()

    def row(part: str, version: Version) -> Row:
        seen.add(version.key)
        return Row(part, version, recent.figures(model.name, version.label), memory.of([version]))

    for name, rollout in ((None, model.main), *model.canaries.items()):
        weight = (model.config.traffic or {}).get(name or rollout.uri.selector)
        slots = (("serves", rollout.serving), ("coming", rollout.candidate), ("warm", rollout.executor.warm))
        for part, version in slots:
            if version is not None and version.key not in seen:
                share = f", weight {weight}" if weight is not None and part == "serves" else ""
                share = f", {version.share} % of the traffic" if version.share else share
                yield row(f"{f'@{name}: ' if name else ''}{part}{share}", version)
        for version in rollout.executor.versions.values():
            if version.key not in seen:
                yield row("ending", version)


def _side(server: ServerState, model: ServedModel, name: str, rollout: AliasRollout) -> Side:
    status, serving, candidate = rollout.status, rollout.serving, rollout.candidate
    version = serving or candidate
    label = status.version if status.problem and status.version else version.label if version else status.version
    if status.problem:
        word = {Kind.WITHDRAWN: "withdrawn", Kind.SENT_BACK: "withdrawn", Kind.REFUSED: "refused"}
        found = Condition(word.get(status.kind, "failed"), "bad")
    elif serving is not None:
        found = Condition("serving" if serving.ready else "no worker", "good" if serving.ready else "bad")
    else:
        resting = {Kind.SHARED: "same version", Kind.MISSING: "no such alias"}.get(status.kind)
        found = Condition(resting or ("coming up" if candidate else "waiting"), "busy")
    counts = server.sampler.recent.counts.get((model.name, label), VersionCounts())
    return Side(
        alias=name,
        what=side(model, name),
        weight=(model.config.traffic or {}).get(name, 0),
        condition=found,
        label=label,
        figures=_past(server, model, label) if label else None,
        copies=counts.copies,
        candidate=candidate,
    )


def _past(server: ServerState, model: ServedModel, label: str) -> Figures:
    """All that is kept of a version."""
    recent = server.sampler.recent
    return recent.figures(model.name, label, steps=recent.fed)


def _steps(candidate: Version) -> list[tuple[str, str]]:
    """The way up of a candidate: (what, done, now or next)."""
    states = [state for state, _ in STEPS]
    at = states.index(candidate.life.state) if candidate.life.state in states else -1
    return [(word, "done" if i < at else "now" if i == at else "next") for i, (_, word) in enumerate(STEPS)]


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

    def series(name: str, style: str, of: Callable[[Figures], float | None], *, filled: bool = False) -> charts.Series:
        return charts.Series(name, style, [of(p.figures) for p in points], filled=filled)

    def lay(title: str, least: float, word: Any, *lines: charts.Series) -> charts.Chart:
        return charts.chart(title, at_s, now_s, lines, least_top=least, word=word, events=flips)

    p50, p95 = series("p50", "first", lambda f: f.p50_s), series("p95", "third", lambda f: f.p95_s)
    p99 = series("p99", "second", lambda f: f.p99_s)
    errors = series("errors", "failing", lambda f: f.error_rate, filled=True)
    rejected = series("rejected", "faint", lambda f: f.rejected_rate)
    requests = series("requests/s", "first", lambda f: f.requests_per_s, filled=True)
    rows = series("rows/s", "third", lambda f: f.rows_per_s)
    together = series("rows", "third", lambda f: f.rows_per_batch)
    batched = series("requests", "first", lambda f: f.requests_per_batch)
    return [
        lay("Requests and rows", 1.0, words.rate, requests, rows),
        lay("Latency", 0.001, words.milliseconds, p50, p95, p99),
        lay("Errors", 0.01, words.share, errors, rejected),
        lay("In a batch", 1.0, words.rate, batched, together),
    ]


def _said(model: ServedModel) -> str:
    """What a screen reader is told when it changes: no numbers."""
    found = condition(model)
    return f"{model.name}: {found.word}{f', {model.current.label}' if model.current else ''}"
