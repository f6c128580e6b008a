"""What holds between a model's `uri`, `traffic`, `shadow` and pins."""

from __future__ import annotations

import re

from headrace.config.tree import Model, Shadow, Wildcard
from headrace.core.errors import ConfigError
from headrace.core.identity import ModelUri, parse_model_uri

WILDCARD = "*"
PIN_HEADER = "headrace-version"
_MOST_ALIASES = 8
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_ALIAS = re.compile(r"[^\s/@:*?#]{1,255}")


def check_traffic(path: str, model: Model) -> None:
    """Refuse weights, shadows and wildcards that make no sense; raises ConfigError with the key's path."""
    uri = parse_model_uri(model.uri)
    if isinstance(model, Wildcard):
        _check_wildcard(path, model, uri)
    elif uri.name == WILDCARD:
        raise ConfigError(f"{path}.uri", f"'models:/*@...' stands for all models: give it under models.'{WILDCARD}'")
    for key, value in (("traffic", model.traffic), ("shadow", model.shadow)):
        if value is not None and uri.kind != "alias":
            raise ConfigError(
                f"{path}.{key}", f"needs a uri with an alias, such as models:/NAME@production, not {model.uri}"
            )
    if model.traffic is not None:
        _check_weights(f"{path}.traffic", model.traffic, uri.selector)
    alias = shadow_of(model).alias if model.shadow is not None else None
    if alias == uri.selector:
        raise ConfigError(f"{path}.shadow", f"{alias!r} is what serves; a shadow is another alias")
    if alias is not None and not _ALIAS.fullmatch(alias):
        raise ConfigError(f"{path}.shadow", f"{alias!r} is no alias")
    if model.sticky_header is not None and not _HEADER.fullmatch(model.sticky_header):
        raise ConfigError(f"{path}.sticky_header", f"{model.sticky_header!r} is not the name of a header")
    if model.sticky_header is not None and model.traffic is None:
        raise ConfigError(f"{path}.sticky_header", "divides nothing without 'traffic'")


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


def _check_weights(path: str, traffic: dict[str, int], main: str) -> None:
    if main not in traffic:
        example = ", ".join(f"{alias}: {weight}" for alias, weight in {main: 90, **traffic}.items())
        raise ConfigError(path, f"lacks the uri's own alias {main!r}: write {{{example}}}")
    if len(traffic) > _MOST_ALIASES:
        raise ConfigError(
            path, f"at most {_MOST_ALIASES} aliases can share a model's traffic, these are {len(traffic)}"
        )
    if sum(traffic.values()) <= 0:
        raise ConfigError(path, "the weights sum up to 0: nobody would answer")
    for alias in traffic:
        if not _ALIAS.fullmatch(alias):
            raise ConfigError(f"{path}.{alias}", "is no alias; the keys are aliases of the uri's registered model")


def _check_wildcard(path: str, model: Wildcard, uri: ModelUri) -> None:
    if uri.kind != "alias" or uri.name != WILDCARD:
        raise ConfigError(
            f"{path}.uri", f"must be of the form models:/*@ALIAS, such as models:/*@production, not {model.uri}"
        )
    if model.port is not None or model.host is not None:
        raise ConfigError(
            f"{path}.port", "these models share gateway.port, below /models/NAME; they have none of their own"
        )
