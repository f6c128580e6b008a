"""How a model is: in a word for lists, and as notices that say what happened and what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from headrace.config.replicas import in_words
from headrace.config.traffic import shadow_of
from headrace.core.rollout.lifecycle import State
from headrace.supervisor.admin.dashboard import words
from headrace.supervisor.admin.dashboard.listing import Condition
from headrace.supervisor.rollout.alias_rollout import AliasRollout
from headrace.supervisor.rollout.status import Kind
from headrace.supervisor.served_model import ServedModel

STEPS = (
    (State.RESOLVED, "resolved"),
    (State.FETCHED, "fetched"),
    (State.ENVIRONMENT_READY, "environment ready"),
    (State.LOADING, "loading"),
    (State.WARMING, "warming up"),
    (State.READY, "ready"),
)
_WHAT = {
    Kind.FAILED: "did not come up",
    Kind.REFUSED: "was refused by a check",
    Kind.WITHDRAWN: "was sent back",
    Kind.SENT_BACK: "was sent back",
    Kind.DOES_BADLY: "does badly, and serves on",
}


@dataclass(frozen=True)
class Notice:
    """Something that an operator should know. `at_s` is when it happened (Unix seconds), `advice` what to do next."""

    kind: str
    title: str
    text: str = ""
    at_s: float | None = None
    advice: str = ""

    @property
    def line(self) -> str:
        """The notice in one sentence."""
        return sentence(f"{self.title}: {self.text}" if self.text else self.title)


def condition(model: ServedModel) -> Condition:
    """The state of a model in one word, with its colour."""
    current, candidate, main = model.current, model.main.candidate, model.main
    # What failed is tried again and again: until it comes up, it has failed.
    failed = bool(main.status.problem) and (candidate is None or is_again(main))
    if model.leaving:
        return Condition("leaving", "busy")
    if current is not None and model.answers.failing:
        return Condition("failing", "bad")
    if model.ready and failed and main.blocked:
        return Condition("update failed", "busy")
    if model.ready and candidate is not None:
        return Condition("updating", "busy")
    if model.ready:
        resting = "asleep" if current is not None and current.asleep else "serving"
        beside = next((alias for alias, canary in model.canaries.items() if canary.status.problem), None)
        return Condition(f"{side(model, beside)} failed", "busy") if beside else Condition(resting, "good")
    if current is not None:
        return Condition("unready" if model.unwell else "no worker", "bad")
    return Condition("failed", "bad") if failed else Condition("starting", "busy")


def side(model: ServedModel, alias: str) -> str:
    """What another alias than the main one is there for."""
    shadowed = model.config.shadow is not None and shadow_of(model.config).alias == alias
    return "shadow" if shadowed and not (model.config.traffic or {}).get(alias) else "canary"


def notices(model: ServedModel) -> Iterator[Notice]:
    """What is not obvious, the worst first."""
    main, failing = model.main, model.answers.describe()
    serves = f"{model.current.label} serves on" if model.current is not None and model.ready else ""
    if failing is not None:
        advice = "Below, Failures has the tracebacks."
        yield Notice(
            "bad", f"Failing for {words.span(time.time() - failing['since'])}", failing["reason"], advice=advice
        )
    elif not model.ready and model.current is not None:
        yield Notice("bad", f"{model.current.label} cannot answer", model.why_not())
    if main.status.problem:
        yield _of_status(model, main, "busy" if model.ready else "bad", serves)
    elif not model.ready and model.current is None and main.candidate is None:
        yield Notice("bad", "Nothing serves", model.why_not())
    if main.contact.problem and (model.ready or main.candidate is not None):
        text = "what serves goes on" if model.ready else ""
        said = f"{main.contact.problem}{'; ' + text if text else ''}"
        yield Notice("busy", "The registry cannot be followed", said, main.contact.lost_s)
    if main.paused:
        advice = f"headrace resume {model.name} follows the registry again."
        yield Notice("busy", "Paused", "no version changes until it is resumed", advice=advice)
    if main.executor.ordered not in {None, model.config.replicas}:
        was = in_words(model.config).split(" replica")[0]
        yield Notice("busy", f"Scaled from {was} to {model.replicas} replicas", "until a restart")
    if main.held:
        yield Notice(
            "busy", "Rolled back", "held until the registry points at another version",
            advice=f"headrace refresh {model.name} --anew follows the registry again.",
        )  # fmt: skip
    if main.candidate is not None:
        state = dict(STEPS).get(main.candidate.life.state, str(main.candidate.life.state).lower())
        share = f"{main.candidate.share} % of the traffic" if main.candidate.share else state
        yield Notice("busy", f"Bringing up {main.candidate.label}{' again' if is_again(main) else ''}", share)
    for version in (main.candidate, model.current):
        if version is not None and version.made_up is not None and version.made_up.failed:
            yield Notice("busy", f"The example made up for {version.label} failed", version.made_up.reason)
    for alias, canary in model.canaries.items():
        if canary.status.problem:
            yield _of_side(model, alias, canary)


def _of_side(model: ServedModel, alias: str, canary: AliasRollout) -> Notice:
    """A canary's or shadow's problem."""
    what = side(model, alias)
    has = "its share of the traffic" if what == "canary" else "its copies"
    serves = canary.serving.label if canary.serving is not None else ""
    takes = (
        f"{serves} keeps {has}"
        if serves
        else f"the main version has {has}"
        if what == "canary"
        else "no copies are made"
    )
    found = _of_status(model, canary, "bad", takes)
    return Notice(found.kind, f"{what.capitalize()} @{alias}: {found.title}", found.text, found.at_s, found.advice)


def is_again(rollout: AliasRollout) -> bool:
    """Whether what comes up is what has failed already."""
    return rollout.candidate is not None and rollout.candidate.label == rollout.status.version


def sentence(text: str) -> str:
    """A text with a full stop."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _of_status(model: ServedModel, rollout: AliasRollout, kind: str, kept: str) -> Notice:
    status, failure = rollout.status, rollout.record.failure
    refresh = f"headrace refresh {model.name}"
    until_changed = f"It is not used again until the registry changes, or with: {refresh} --anew"
    advice = {
        Kind.FAILED: f"It is tried again by itself, or now with: {refresh}",
        Kind.REFUSED: f"It is not tried again until the registry changes, or with: {refresh} --anew",
        Kind.WITHDRAWN: until_changed,
        Kind.SENT_BACK: until_changed,
    }.get(status.kind, "")
    what = _WHAT.get(status.kind)
    title = f"{status.version} {what}" if what and status.version else "A fault of headrace's own"
    at_s = failure.at if failure is not None and failure.label == status.version else None
    return Notice(kind, title, f"{status.reason}; {kept}" if kept else status.reason, at_s, advice)
