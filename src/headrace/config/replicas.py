"""The section `replicas:` of a model, and what it means together with the keys beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from headrace.config.section import Count, Section
from headrace.core.errors import Problem
from headrace.core.processes.scaling import Bounds

if TYPE_CHECKING:
    from headrace.config.tree import Model


class Replicas(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`replicas:` between `min` and `max` processes predict, as many as the load needs.

    Where `min` is 0, none while nobody asks: the model stays loaded, and a request wakes it.
    """

    min: Annotated[int, Meta(ge=0)] = 1
    max: Count


def bounds(model: Model) -> Bounds:
    """Between how many replicas a model has, and what decides."""
    if not isinstance(model.replicas, Replicas):
        return Bounds.fixed(model.replicas)
    # What is held back to be put together waits on purpose.
    target_s = (model.target_wait_ms + model.batch.max_delay_ms) / 1000
    return Bounds(model.replicas.min, model.replicas.max, target_s, model.idle_s)


def told(model: Model) -> int | dict[str, Any]:
    """`replicas` as the file has it, as data."""
    replicas = model.replicas
    return {"min": replicas.min, "max": replicas.max} if isinstance(replicas, Replicas) else replicas


def in_words(model: Model) -> str:
    """Such as "1 replica", or "1 to 8 replicas"."""
    if isinstance(model.replicas, Replicas):
        return f"{model.replicas.min} to {model.replicas.max} replicas"
    return "1 replica" if model.replicas == 1 else f"{model.replicas} replicas"


def check_replicas(path: str, model: Model) -> Iterator[Problem]:
    """What makes no sense of the numbers together; `path` is the model's."""
    replicas = model.replicas
    if isinstance(replicas, Replicas) and replicas.min > replicas.max:
        yield Problem(f"{path}.replicas.min", f"{replicas.min} is more than max, which is {replicas.max}")
