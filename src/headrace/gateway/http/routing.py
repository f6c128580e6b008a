"""From a request's method and target to what is wanted; the routes are MLflow's, and the same under ``/models/{name}``.

``/endpoints/{name}/invocations`` is where the client of `mlflow.deployments` posts to.

Pure. Paths are compared after percent-decoding, the query string is ignored, a trailing slash is redirected.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple
from urllib.parse import unquote_to_bytes


class Want(IntEnum):
    """What a request asks for."""

    INVOKE = 0
    HEALTH = 1
    VERSION = 2
    MODELS = 3
    NOT_FOUND = 4
    WRONG_METHOD = 5
    REDIRECT = 6
    WRONG_MODEL = 7
    PREFLIGHT = 8


class Target(NamedTuple):
    """`model` None stands for all models of the port; `detail` is Allow's value or the path to redirect to."""

    want: Want
    model: str | None = None
    detail: bytes = b""


_METHODS: dict[Want, tuple[bytes, ...]] = {
    Want.INVOKE: (b"POST",),
    Want.HEALTH: (b"GET", b"HEAD"),
    Want.VERSION: (b"GET",),
    Want.MODELS: (b"GET",),
}
_ALLOW = {Want.INVOKE: b"POST", Want.HEALTH: b"GET", Want.VERSION: b"GET", Want.MODELS: b"GET"}
_ACTIONS = {b"invocations": Want.INVOKE, b"ping": Want.HEALTH, b"health": Want.HEALTH, b"version": Want.VERSION}


def resolve(method: bytes, raw_target: bytes, port_model: str | None) -> Target:
    """Say what a request wants. `port_model` is the model whose own port this is, None on the shared port."""
    path, query = split_target(raw_target)
    want, model = _match(path, port_model)
    if want is Want.NOT_FOUND and len(path) > 1 and path.endswith(b"/"):
        short = path.rstrip(b"/")
        if _match(short, port_model)[0] is not Want.NOT_FOUND:
            raw = raw_target.split(b"?", 1)[0]
            at = raw.find(b"://")
            raw = raw[raw.find(b"/", at + 3) :] if at > 0 else raw
            return Target(Want.REDIRECT, None, raw.rstrip(b"/") + query)
    if want is Want.NOT_FOUND or want is Want.WRONG_MODEL:
        return Target(want, model)
    if method not in _METHODS[want]:
        return Target(Want.WRONG_METHOD, model, _ALLOW[want])
    return Target(want, model)


def split_target(raw_target: bytes) -> tuple[bytes, bytes]:
    """Split a request target, in origin or absolute form, to (decoded path, query with its ``?``)."""
    raw, mark, query = raw_target.partition(b"?")
    if not raw.startswith(b"/"):
        at = raw.find(b"://")
        slash = raw.find(b"/", at + 3) if at > 0 else -1
        raw = (raw[slash:] if slash >= 0 else b"/") if at > 0 else raw
    raw = raw.partition(b"#")[0]
    return (unquote_to_bytes(raw) if b"%" in raw else raw), mark + query


def _match(path: bytes, port_model: str | None) -> tuple[Want, str | None]:
    if path.startswith(b"/models/"):
        name, slash, action = path[8:].rpartition(b"/")
        want = _ACTIONS.get(action, Want.NOT_FOUND) if slash and name else Want.NOT_FOUND
        if want is Want.NOT_FOUND:
            return want, None
        return _named(want, name, port_model)
    if path.startswith(b"/endpoints/") and path.endswith(b"/invocations") and len(path) > 23:
        return _named(Want.INVOKE, path[11:-12], port_model)
    if port_model is None:
        if path == b"/models":
            return Want.MODELS, None
        return (Want.HEALTH, None) if path in {b"/ping", b"/health"} else (Want.NOT_FOUND, None)
    wanted = _ACTIONS.get(path[1:]) if path[:1] == b"/" else None
    return (Want.NOT_FOUND, None) if wanted is None else (wanted, port_model)


def _named(want: Want, name: bytes, port_model: str | None) -> tuple[Want, str]:
    model = name.decode("utf-8", "replace")
    return (Want.WRONG_MODEL if port_model is not None and model != port_model else want), model
