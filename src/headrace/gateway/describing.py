"""Descriptions of models for other protocols: the Open Inference Protocol (V2) and V1 of KServe.

All of it is known from the newest table; no worker is asked.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from headrace import __version__
from headrace.core.contract import about, openapi, tensors
from headrace.gateway.http.targets import Want
from headrace_worker.wire import V1

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.core.protocol import messages
    from headrace.gateway.exchange import Exchange
    from headrace.gateway.pools.pool import Pool

REFUSED_LOAD = (
    "Clients do not load or unload models here: which version serves is what the registry says. An operator may ask "
    "the admin port to look now (headrace refresh MODEL), or move the alias (headrace promote MODEL VERSION)."
)


class Missing(Exception):
    """There is no such version. The message lists those that exist."""


class Descriptions:
    """Of the models of the newest table: their `routes`, and all `pools` by their keys."""

    def __init__(self, is_ready: Callable[[str], bool], why_not: Callable[[str], str]) -> None:
        self._is_ready = is_ready
        self._why_not = why_not
        self._routes: Mapping[str, messages.Route] = {}
        self._pools: Mapping[str, Pool] = {}

    def configure(self, routes: Mapping[str, messages.Route], pools: Mapping[str, Pool]) -> None:
        """Apply the newest table."""
        self._routes, self._pools = routes, pools

    def versions(self, model: str) -> dict[str, Pool]:
        """The versions that a request for `model` may name, with the pool of each."""
        route = self._routes.get(model)
        found = [self._pools[key] for key in route.pools if key in self._pools] if route is not None else []
        return {version_of(pool): pool for pool in found if pool.queues}

    def server(self) -> dict[str, Any]:
        """``GET /v2``."""
        return {"name": "headrace", "version": __version__, "extensions": ["binary_tensor_data", "parameters"]}

    def model(self, model: str, version: str, serving: Pool) -> dict[str, Any]:
        """``GET /v2/models/NAME``, of the version that serves or of `version`; raises Missing."""
        versions = self.versions(model)
        pool = versions.get(version) if version else serving
        if pool is None:
            raise Missing(unknown_version(model, version, sorted(versions)))
        return tensors.metadata(model, sorted(versions), about.decode(pool.version.config.about))

    def openapi(self, model: str, pool: Pool, *, is_own_port: bool) -> dict[str, Any]:
        """The OpenAPI document of the version that serves."""
        config = pool.version.config
        base = "/" if is_own_port else f"/models/{quote(model, '')}"
        return openapi.document(model, config.label, base, about.decode(config.about))

    def index(self, models: Sequence[str], body: bytes) -> list[dict[str, str]]:
        """``POST /v2/repository/index``; raises msgspec's DecodeError for a body that is none."""
        asked = msgspec.json.decode(body, type=_Asked) if body.strip() else _Asked()
        return [entry for model in models for entry in self._entries(model) if not asked.ready or not entry["reason"]]

    def _entries(self, model: str) -> list[dict[str, str]]:
        ready = self._is_ready(model)
        state, reason = ("READY", "") if ready else ("UNAVAILABLE", self._why_not(model))
        names = sorted(self.versions(model)) or [""]
        return [{"name": model, "version": name, "state": state, "reason": reason} for name in names]


class _Asked(msgspec.Struct):
    ready: bool = False


def version_of(pool: Pool) -> str:
    """What a pool's version is called below the name of its model."""
    return pool.version.config.label.rpartition("/")[2]


def unknown_version(model: str | None, wanted: str, there: Sequence[str]) -> str:
    """What is said where a request asks for a version that does not serve."""
    names = ", ".join(f"'{name}'" for name in there) or "none"
    return f"No version '{wanted}' of model '{model}' serves; there are: {names}."


HTML = b"text/html; charset=utf-8"
PAGE_HEAD = (
    b"content-security-policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    b"connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    b"x-content-type-options: nosniff\r\n"
)


@cache
def page() -> bytes:
    """The page that shows what a model takes and lets one try it; it needs nothing from elsewhere."""
    return Path(__file__).with_name("docs.html").read_bytes()


def models(names: Sequence[str], protocol: str) -> dict[str, Any]:
    """A list of models; where it is V1's, clients of OpenAI's dialect read the same."""
    told: dict[str, Any] = {"models": list(names)}
    return told if protocol != V1 else {**told, "object": "list", "data": [_as_openai(name) for name in names]}


def _as_openai(name: str | None) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "headrace"}


PROBES = {Want.LIVE: "live", Want.HEALTH: "ready", Want.READY: "ready"}


def well(exchange: Exchange) -> bytes:
    """The body of a probe that succeeds."""
    want, model, _, protocol = exchange.request.target
    told: dict[str, Any] = {"name": model} if want is Want.READY else {}
    if want is Want.READY and protocol == V1:
        told.update(_as_openai(model))
    return msgspec.json.encode({**told, PROBES[want]: True})
