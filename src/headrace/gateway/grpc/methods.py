"""The methods there are: what each asks of the gateway, in the words of its HTTP routes, and how the answer is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from headrace.gateway.grpc import reflection, schema, tensors
from headrace.gateway.grpc.status import told as told_error
from headrace.gateway.http.targets import Target, Want
from headrace_worker.wire import V2


class Request(NamedTuple):
    """What a message asks for. `json_bytes` of its `body` are JSON, None: there are no tensors."""

    target: Target
    body: bytes = b""
    json_bytes: int | None = None
    raw: bool = False


class Result(NamedTuple):
    """An answer as HTTP would have it; `json_bytes` of its `body` are JSON, 0: all."""

    status: int
    body: bytes
    json_bytes: int = 0


_FLAGS = (("ServerLive", "live"), ("ServerReady", "ready"), ("ModelReady", "ready"))

Tell = Callable[[Result, Request], bytes | None]


class Method(NamedTuple):
    """One method. `read` raises schema.Malformed; `tell` makes the message of an answer, None of what is an error.

    `streaming`: there may be many messages in one call. `local` answers a message by itself, where `want` is allowed.
    """

    want: Want
    read: Callable[[bytes], Request]
    tell: Tell
    streaming: bool = False
    local: Callable[[bytes], bytes] | None = None


def _of_nobody(_: bytes) -> Request:
    return Request(Target(Want.SERVER, None, b"", V2))


def _asks(want: Want, name: str, model: str = "", detail: str = "", action: bytes = b"") -> Callable[[bytes], Request]:
    """Reads a message that says no more than a model, and a version: by the names of its fields."""
    kind = schema.kind(f"inference.{name}Request")

    def read(data: bytes) -> Request:
        message = schema.parse(kind, data)
        version = getattr(message, detail).encode() if detail else action
        return Request(Target(want, getattr(message, model) if model else None, version, V2))

    return read


def _says(name: str, field: str) -> Tell:
    """Tells yes, no (503), or that it was no question."""
    kind = schema.kind(name)

    def tell(result: Result, _: Request) -> bytes | None:
        return schema.encode(kind(**{field: result.status == 200})) if result.status in {200, 503} else None

    return tell


def _nothing(_: Result, __: Request) -> None:
    """What clients may not do has no answer but an error."""


def _server_metadata(result: Result, _: Request) -> bytes | None:
    made = schema.kind("inference.ServerMetadataResponse")
    return schema.encode(made(**msgspec.json.decode(result.body))) if result.status == 200 else None


def _model_metadata(result: Result, _: Request) -> bytes | None:
    if result.status != 200:
        return None
    told = msgspec.json.decode(result.body)
    kind = schema.kind("inference.ModelMetadataResponse")
    made = kind(name=told["name"], versions=told["versions"], platform=told["platform"])
    for side in ("inputs", "outputs"):
        for one in told[side]:
            getattr(made, side).add(name=one["name"], datatype=one["datatype"], shape=one["shape"])
    return schema.encode(made)


def _read_index(data: bytes) -> Request:
    message = schema.parse(schema.kind("inference.RepositoryIndexRequest"), data)
    return Request(Target(Want.INDEX, None, b"", V2), b'{"ready":true}' if message.ready else b"")


def _index(result: Result, _: Request) -> bytes | None:
    made = schema.kind("inference.RepositoryIndexResponse")
    return schema.encode(made(models=msgspec.json.decode(result.body))) if result.status == 200 else None


def _read_infer(data: bytes) -> Request:
    asked = tensors.read_request(data)
    target = Target(Want.INFER, asked.model, asked.version.encode(), V2)
    return Request(target, asked.body, asked.json_bytes, asked.raw)


def _infer(result: Result, request: Request) -> bytes | None:
    return tensors.encoded(result.body, result.json_bytes, raw=request.raw) if result.status == 200 else None


def _part(result: Result, request: Request) -> bytes:
    """A message of a stream: an error is one, too, and the stream goes on."""
    kind = schema.kind("inference.ModelStreamInferResponse")
    if result.status == 200:
        made = kind(infer_response=tensors.response(result.body, result.json_bytes, raw=request.raw))
    else:
        made = kind(error_message=told_error(result.body) or "The request failed.")
    return schema.encode(made)


def _read_health(data: bytes) -> Request:
    service = schema.parse(schema.kind("grpc.health.v1.HealthCheckRequest"), data).service
    if service in {"", *schema.SERVICES}:
        return Request(Target(Want.HEALTH, None, b"", V2))
    return Request(Target(Want.READY, service, b"", V2))


def _health(result: Result, _: Request) -> bytes | None:
    kind = schema.kind("grpc.health.v1.HealthCheckResponse")
    if result.status not in {200, 503}:
        return None
    return schema.encode(kind(status="SERVING" if result.status == 200 else "NOT_SERVING"))


def _methods() -> Mapping[bytes, Method]:
    live, ready, of_model = (_says(f"inference.{n}Response", f) for n, f in _FLAGS)
    methods = {
        "ServerLive": Method(Want.LIVE, _asks(Want.LIVE, "ServerLive"), live),
        "ServerReady": Method(Want.HEALTH, _asks(Want.HEALTH, "ServerReady"), ready),
        "ModelReady": Method(Want.READY, _asks(Want.READY, "ModelReady", "name", "version"), of_model),
        "ServerMetadata": Method(Want.SERVER, _asks(Want.SERVER, "ServerMetadata"), _server_metadata),
        "ModelMetadata": Method(
            Want.METADATA, _asks(Want.METADATA, "ModelMetadata", "name", "version"), _model_metadata
        ),
        "RepositoryIndex": Method(Want.INDEX, _read_index, _index),
        "ModelInfer": Method(Want.INFER, _read_infer, _infer),
        "ModelStreamInfer": Method(Want.INFER, _read_infer, _part, streaming=True),
    }
    for action in ("Load", "Unload"):
        name = f"RepositoryModel{action}"
        read = _asks(Want.LOAD, name, "model_name", action=action.lower().encode())
        methods[name] = Method(Want.LOAD, read, _nothing)
    found = {f"/{schema.INFERENCE}/{name}".encode(): method for name, method in methods.items()}
    found[f"/{schema.HEALTH}/Check".encode()] = Method(Want.HEALTH, _read_health, _health)
    for service in schema.REFLECTION:
        local = reflection.answerer(service)
        path = f"/{service}/ServerReflectionInfo".encode()
        found[path] = Method(Want.SERVER, _of_nobody, _nothing, streaming=True, local=local)
    return found


METHODS = _methods()

UNKNOWN = Method(Want.NOT_FOUND, lambda _: Request(Target(Want.NOT_FOUND, protocol=V2)), _nothing)
"""Whatever is not among them."""
