"""From a request's method and target to what is wanted; the routes are MLflow's, and the same under ``/models/{name}``.

``/endpoints/{name}/invocations`` is where the client of `mlflow.deployments` posts to. What is none of these may belong
to another protocol (`protocols`).

Pure. Paths are compared after percent-decoding, the query string is ignored, a trailing slash is redirected.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from headrace.gateway.http import protocols
from headrace.gateway.http.targets import MCP, Target, Want

_GET: tuple[tuple[bytes, ...], bytes] = ((b"GET",), b"GET")
_PROBE: tuple[tuple[bytes, ...], bytes] = ((b"GET", b"HEAD"), b"GET")
_POST: tuple[tuple[bytes, ...], bytes] = ((b"POST",), b"POST")
# The methods that are taken, and what Allow says of them.
_METHODS: dict[Want, tuple[tuple[bytes, ...], bytes]] = {
    Want.INVOKE: _POST,
    Want.HEALTH: _PROBE,
    Want.VERSION: _GET,
    Want.MODELS: _GET,
    Want.INFER: _POST,
    Want.ASK: _POST,
    Want.SERVER: _GET,
    Want.LIVE: _PROBE,
    Want.READY: _PROBE,
    Want.METADATA: _GET,
    Want.INDEX: _POST,
    Want.LOAD: _POST,
    Want.OPENAPI: _GET,
    Want.DOCS: _GET,
    Want.FEEDBACK: _POST,
}
_ACTIONS = {
    b"invocations": Want.INVOKE,
    b"ping": Want.HEALTH,
    b"health": Want.HEALTH,
    b"version": Want.VERSION,
    b"feedback": Want.FEEDBACK,
}


def resolve(method: bytes, raw_target: bytes, port_model: str | None) -> Target:
    """Say what a request wants. `port_model` is the model whose own port this is, None on the shared port."""
    path, query = split_target(raw_target)
    target = _match(path, port_model)
    want = target.want
    if want is Want.NOT_FOUND and len(path) > 1 and path.endswith(b"/"):
        short = path.rstrip(b"/")
        if _match(short, port_model).want is not Want.NOT_FOUND:
            raw = raw_target.split(b"?", 1)[0]
            at = raw.find(b"://")
            raw = raw[raw.find(b"/", at + 3) :] if at > 0 else raw
            return Target(Want.REDIRECT, None, raw.rstrip(b"/") + query)
    if want is Want.NOT_FOUND or want is Want.WRONG_MODEL or want is Want.MCP:
        return target  # of the last, the gateway looks at the method: where MCP is not spoken there is no such path
    methods, allow = _METHODS[want]
    if method not in methods:
        return Target(Want.WRONG_METHOD, target.model, allow, target.protocol)
    return target


def split_target(raw_target: bytes) -> tuple[bytes, bytes]:
    """Split a request target, in origin or absolute form, to (decoded path, query with its ``?``)."""
    raw, mark, query = raw_target.partition(b"?")
    if not raw.startswith(b"/"):
        at = raw.find(b"://")
        slash = raw.find(b"/", at + 3) if at > 0 else -1
        raw = (raw[slash:] if slash >= 0 else b"/") if at > 0 else raw
    raw = raw.partition(b"#")[0]
    return (unquote_to_bytes(raw) if b"%" in raw else raw), mark + query


def _match(path: bytes, port_model: str | None) -> Target:
    if path.startswith(b"/models/"):
        name, slash, action = path[8:].rpartition(b"/")
        want = _ACTIONS.get(action, Want.NOT_FOUND) if slash and name else Want.NOT_FOUND
        if want is Want.NOT_FOUND:
            return protocols.match_below_model(path[8:], port_model)
        return protocols.named(Target(want), name, port_model)
    if path.startswith(b"/endpoints/") and path.endswith(b"/invocations") and len(path) > 23:
        return protocols.named(Target(Want.INVOKE), path[11:-12], port_model)
    if port_model is None:
        if path == b"/models":
            return Target(Want.MODELS)
        if path == b"/feedback":
            return Target(Want.FEEDBACK)
        if path == b"/mcp":
            return Target(Want.MCP, protocol=MCP)
        return Target(Want.HEALTH) if path in {b"/ping", b"/health"} else protocols.match(path, None)
    wanted = _ACTIONS.get(path[1:]) if path[:1] == b"/" else None
    return protocols.match(path, port_model) if wanted is None else Target(wanted, port_model)
