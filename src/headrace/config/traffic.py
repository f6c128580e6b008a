"""What holds between a model's `uri`, `traffic`, `shadow` and pins."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headrace.config.tree import Model, Shadow, Wildcard
from headrace.core.errors import Problem, UsageError
from headrace.core.identity import parse_model_uri

WILDCARD = "*"
PIN_HEADER = "headrace-version"
_MOST_ALIASES = 8
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_ALIAS = re.compile(r"[^\s/@:*?#]{1,255}")


def check_traffic(path: str, model: Model) -> Iterator[Problem]:
    """What makes no sense of a model's uri, weights, shadow and wildcard; `path` is the model's."""
    if isinstance(model, Wildcard):
        yield from _check_wildcard(path, model)
    if _of_all(model.uri):
        if not isinstance(model, Wildcard):
            yield Problem(f"{path}.uri", f"'models:/*@...' stands for all models: give it under models.'{WILDCARD}'")
        return
    try:
        uri = parse_model_uri(model.uri)
    except UsageError as error:
        if not isinstance(model, Wildcard):
            yield Problem(f"{path}.uri", str(error))
        return
    for key, value in (("traffic", model.traffic), ("shadow", model.shadow)):
        if value is not None and uri.kind != "alias":
            says = f"needs a uri with an alias, such as models:/NAME@production, not {model.uri}"
            yield Problem(f"{path}.{key}", says)
    if model.traffic is not None and uri.kind == "alias":
        yield from _check_weights(f"{path}.traffic", model.traffic, uri.selector)
    alias = shadow_of(model).alias if model.shadow is not None else None
    if alias == uri.selector:
        yield Problem(f"{path}.shadow", f"{alias!r} is what serves; a shadow is another alias")
    if alias is not None and not _ALIAS.fullmatch(alias):
        yield Problem(f"{path}.shadow", f"{alias!r} is no alias")
    if model.sticky_header is not None and not _HEADER.fullmatch(model.sticky_header):
        yield Problem(f"{path}.sticky_header", f"{model.sticky_header!r} is not the name of a header")
    if model.sticky_header is not None and model.traffic is None:
        yield Problem(f"{path}.sticky_header", "divides nothing without 'traffic'")
    steps = model.rollout.steps or ()
    if list(steps) != sorted(set(steps)):
        yield Problem(f"{path}.rollout.steps", f"are shares in percent that grow, such as [1, 10, 100], not {[*steps]}")
    if steps and model.rollout.bake_s == 0:
        yield Problem(f"{path}.rollout.steps", "each lasts bake_s, and that is 0: nobody would look how it does")


def shadow_of(model: Model) -> Shadow:
    """The shadow as a section; call it only where there is one."""
    return model.shadow if isinstance(model.shadow, Shadow) else Shadow(alias=model.shadow or "")


def other_aliases(model: Model) -> list[str]:
    """The aliases beside the main one that must be followed, in a fixed order."""
    main = parse_model_uri(model.uri).selector
    wanted = [alias for alias in model.traffic or {} if alias != main]
    if model.shadow is not None:
        wanted.append(shadow_of(model).alias)
    return list(dict.fromkeys(wanted))


def _check_weights(path: str, traffic: dict[str, int], main: str) -> Iterator[Problem]:
    if main not in traffic:
        example = ", ".join(f"{alias}: {weight}" for alias, weight in {main: 90, **traffic}.items())
        yield Problem(path, f"lacks the uri's own alias {main!r}: write {{{example}}}")
    if len(traffic) > _MOST_ALIASES:
        yield Problem(path, f"at most {_MOST_ALIASES} aliases can share a model's traffic, these are {len(traffic)}")
    if sum(traffic.values()) <= 0:
        yield Problem(path, "the weights sum up to 0: nobody would answer")
    for alias in traffic:
        if not _ALIAS.fullmatch(alias):
            yield Problem(f"{path}.{alias}", "is no alias; the keys are aliases of the uri's registered model")


def _check_wildcard(path: str, model: Wildcard) -> Iterator[Problem]:
    if not re.fullmatch(r"models:/\*@[^/@]+", model.uri):
        says = f"must be of the form models:/*@ALIAS, such as models:/*@production, not {model.uri}"
        yield Problem(f"{path}.uri", says)
    if model.port is not None or model.host is not None:
        says = "these models share gateway.port, below /models/NAME; they have none of their own"
        yield Problem(f"{path}.port" if model.port is not None else f"{path}.host", says)


def _of_all(uri: str) -> bool:
    return re.fullmatch(r"models:/\*(?:[@/].*)?", uri) is not None
