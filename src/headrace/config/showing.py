"""A configuration as it stands after everything: defaults, variables, forms; and nothing in it that is secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from headrace.config import tree
from headrace.config.traffic import WILDCARD
from headrace.core.environments.requirements import without_secrets
from headrace.core.identity import parse_model_uri

HIDDEN = "(hidden)"


def shown(config: tree.Config) -> dict[str, Any]:
    """The whole tree as a file could have it. Secrets, variables for models and passwords in addresses are hidden."""
    document: dict[str, Any] = msgspec.to_builtins(config, enc_hook=str)
    wildcard = document.pop("wildcard")
    models = document.pop("models") | ({WILDCARD: wildcard} if wildcard is not None else {})
    for model in models.values():
        model["env"] = dict.fromkeys(model["env"], HIDDEN)
        model["uri"] = without_secrets(model["uri"])
        if model["cache"] is not None and model["cache"]["url"] is not None:
            model["cache"]["url"] = without_secrets(model["cache"]["url"])
    registry, otlp = document["registry"], document["telemetry"]["otlp"]
    for section, key in ((registry, "tracking_uri"), (registry, "registry_uri"), (otlp, "endpoint")):
        if section is not None and section[key] is not None:
            section[key] = without_secrets(section[key])
    if registry["webhook_secret"] is not None:
        registry["webhook_secret"] = HIDDEN
    for issuer in document["auth"]["issuers"].values() if document["auth"] is not None else ():
        if issuer["client"] is not None and issuer["client"]["secret"] is not None:
            issuer["client"]["secret"] = HIDDEN
    return {**document, "models": models}


def missing_files(config: tree.Config) -> list[tuple[str, str]]:
    """(path of the setting, file or directory) for what a configuration names and this machine does not have."""
    named: list[tuple[str, str | None]] = [
        ("environments.wheels", config.environments.wheels),
        ("environments.prebuilt", config.environments.prebuilt),
    ]
    named += [(f"environments.interpreters[{at}]", one) for at, one in enumerate(config.environments.interpreters)]
    for name, model in config.models.items():
        named.append((f"models.{name}.uri", parse_model_uri(model.uri).directory))
        named.append((f"models.{name}.checks.file", model.checks.file))
    return [(path, file) for path, file in named if file is not None and not Path(file).expanduser().exists()]
