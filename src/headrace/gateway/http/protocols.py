"""The routes of other protocols than MLflow's: the Open Inference Protocol (V2), KServe's V1, OpenAI's dialect.

And of what tells of models.

All of them stand on each port, and below ``/models/{name}`` as well; names of models are as routing has them. Pure.
"""

from __future__ import annotations

from headrace.gateway.http.targets import Target, Want
from headrace_worker.wire import OPENAI, V1, V2

_V2_FIXED = {
    b"": Want.SERVER,
    b"/health/live": Want.LIVE,
    b"/health/ready": Want.HEALTH,
    b"/models": Want.MODELS,
    b"/repository/index": Want.INDEX,
}
_V2_ACTIONS = {b"/infer": Want.INFER, b"/ready": Want.READY}
_ASKED = {
    b"/v1/chat/completions": b"chat",
    b"/v1/responses": b"responses",
    b"/v1/embeddings": b"embeddings",
    b"/v1/completions": b"completions",
}
_ABOUT = {b"/openapi.json": Want.OPENAPI, b"/docs": Want.DOCS}


def match(path: bytes, model: str | None) -> Target:
    """What `path` asks for where `model` is the only one that can be meant, None where all can."""
    if path.startswith(b"/v2") and path[3:4] in {b"", b"/"}:
        return _match_v2(path[3:], model)
    if path == b"/v1/models":
        return Target(Want.MODELS, model, b"", V1)
    if path.startswith(b"/v1/models/"):
        name, colon, verb = path[11:].partition(b":")
        if not name or (colon and verb != b"predict"):
            return Target(Want.NOT_FOUND, protocol=V1)
        return named(Target(Want.INFER if colon else Want.READY, protocol=V1), name, model)
    if path.startswith(b"/v1/"):
        kind = _ASKED.get(path)
        return Target(Want.NOT_FOUND if kind is None else Want.ASK, model, kind or b"", OPENAI)
    about = _ABOUT.get(path, Want.NOT_FOUND) if model is not None else Want.NOT_FOUND
    return Target(about, model if about is Want.OPENAPI else None)


def match_below_model(path: bytes, port_model: str | None) -> Target:
    """As `match`, for what follows ``/models/``: a name, and a path of one of the protocols."""
    for mark in (b"/v2", b"/v1/models", *_ASKED, *_ABOUT):
        at = path.find(mark)
        if at > 0 and path[at:] == b"/docs":
            return Target(Want.DOCS)  # the same page for all, so that it says nothing of which models there are
        if at > 0:
            model = path[:at].decode("utf-8", "replace")
            if port_model is not None and model != port_model:
                return Target(Want.WRONG_MODEL, model)
            return match(path[at:], model)
    return Target(Want.NOT_FOUND)


def named(target: Target, name: bytes, port_model: str | None) -> Target:
    """`target` for the model of this name, which may be none of this port's."""
    model = name.decode("utf-8", "replace")
    wrong = port_model is not None and model != port_model
    return target._replace(want=Want.WRONG_MODEL if wrong else target.want, model=model)


def _match_v2(path: bytes, model: str | None) -> Target:
    """What follows ``/v2``."""
    fixed = _V2_FIXED.get(path)
    if fixed is not None:
        return Target(fixed, model if fixed in {Want.HEALTH, Want.MODELS, Want.INDEX} else None, b"", V2)
    if path.startswith(b"/models/"):
        rest = path[8:]
        want = _V2_ACTIONS.get(rest[-6:], Want.METADATA)
        name, mark, version = (rest if want is Want.METADATA else rest[:-6]).partition(b"/versions/")
        if name and (version or not mark):
            return named(Target(want, None, version, V2), name, model)
    elif path.startswith(b"/repository/models/"):
        name, slash, action = path[19:].rpartition(b"/")
        if slash and name and action in {b"load", b"unload"}:
            return named(Target(Want.LOAD, None, action, V2), name, model)
    return Target(Want.NOT_FOUND, protocol=V2)
