"""What is known of a model without asking it: its signature and an example, as they are sent to the gateways. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.core.contract import dialect
from headrace.core.escaping import loads_encodable

MOST_BYTES = 256 * 1024
"""Of all that is told of one version: it is in every table of routes. What a larger signature says is left out."""

MOST_EXAMPLE_BYTES = 16 * 1024


class About(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`inputs`, `outputs` and `params` are the parts of the signature, each spec as MLflow writes it.

    `example` is the body of a request to ``/invocations``. `speaks` are the kinds of request of OpenAI's dialect that
    the model answers. `description` is what the registry says of it. `whole`: False where the signature is too
    large to be told.
    """

    inputs: list[dict[str, Any]] = []
    outputs: list[dict[str, Any]] = []
    params: list[dict[str, Any]] = []
    example: Any = None
    type_hint: bool = False
    streams: bool = False
    speaks: list[str] = []
    description: str = ""
    whole: bool = True


def encode(facts: Mapping[str, Any], example: bytes | None, description: str = "") -> str:
    """The description of a version with these facts, for the gateways; `example` is the body of a request."""
    signature = facts.get("signature")
    speaks = [kind for kind in facts.get("speaks") or () if kind in dialect.PATHS]
    is_hint, streams = bool(facts.get("type_hint")), bool(facts.get("streams"))
    bare = About(type_hint=is_hint, streams=streams, speaks=speaks, description=description, whole=False)
    whole = msgspec.structs.replace(
        bare,
        inputs=_specs(signature, "inputs"),
        outputs=_specs(signature, "outputs"),
        params=_specs(signature, "params"),
        example=_example(example),
        whole=True,
    )
    text = msgspec.json.encode(whole)
    return (text if len(text) <= MOST_BYTES else msgspec.json.encode(bare)).decode()


def decode(text: str) -> About:
    """Undo `encode`; nothing is known if `text` is empty."""
    return msgspec.json.decode(text, type=About) if text else About()


def _specs(signature: Any, name: str) -> list[dict[str, Any]]:
    text = signature.get(name) if isinstance(signature, Mapping) else None
    try:
        specs = loads_encodable(text.encode()) if isinstance(text, str) else []
    except (ValueError, RecursionError):
        return []
    return [spec for spec in specs if isinstance(spec, dict)] if isinstance(specs, list) else []


def _example(body: bytes | None) -> Any:
    try:
        return msgspec.json.decode(body) if body and len(body) <= MOST_EXAMPLE_BYTES else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
