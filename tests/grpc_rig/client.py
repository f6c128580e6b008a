"""A plain client of gRPC (grpcio) for the Open Inference Protocol."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Self

import grpc

from headrace.gateway.grpc.schema import INFERENCE, kind

PATIENCE_S = 100.0


def message(name: str, /, **fields: Any) -> Any:
    """A message of the protocol."""
    return kind(f"inference.{name}")(**fields)


def texts(model: str, *values: str, **fields: Any) -> Any:
    """A request of one tensor of texts, in typed contents."""
    request = message("ModelInferRequest", model_name=model, **fields)
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[len(values)])
    tensor.contents.bytes_contents.extend(value.encode() for value in values)
    return request


def raw(model: str, *values: str, **fields: Any) -> Any:
    """The same request with its tensor in raw contents."""
    request = message("ModelInferRequest", model_name=model, **fields)
    request.inputs.add(name="text", datatype="BYTES", shape=[len(values)])
    request.raw_input_contents.append(packed(*values))
    return request


def packed(*values: str) -> bytes:
    """Texts in binary."""
    return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)


def refusal(call: Any) -> tuple[str, str]:
    """(the code, the message) that a call ends with."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError("the call succeeded")


class Caller:
    """One channel."""

    def __init__(self, address: str, credentials: Any = None, options: Any = (), token: str | None = None) -> None:
        if credentials is None:
            self.channel = grpc.insecure_channel(address, options)
        else:
            self.channel = grpc.secure_channel(address, credentials, options)
        self.metadata = [("authorization", f"Bearer {token}")] if token is not None else []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def unary(self, name: str, service: str = INFERENCE, package: str = "inference") -> Any:
        """A method that takes and gives one message."""
        answer = kind(f"{package}.{name}Response") if package == "inference" else None
        return self.channel.unary_unary(
            f"/{service}/{name}",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=answer.FromString if answer is not None else bytes,
        )

    def call(self, name: str, /, timeout: float = PATIENCE_S, **fields: Any) -> Any:
        """Call a method of the protocol whose messages are called like it."""
        asked = message(f"{name}Request", **fields)
        return self.unary(name)(asked, timeout=timeout, metadata=self.metadata)

    def infer(self, request: Any, timeout: float = PATIENCE_S, metadata: Any = (), **options: Any) -> Any:
        """Ask for a prediction."""
        told = [*self.metadata, *metadata]
        return self.unary("ModelInfer")(request, timeout=timeout, metadata=told, wait_for_ready=True, **options)

    def stream(self, requests: Iterator[Any], timeout: float = PATIENCE_S) -> Any:
        """Ask for predictions one after another."""
        method = self.channel.stream_stream(
            f"/{INFERENCE}/ModelStreamInfer",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=kind("inference.ModelStreamInferResponse").FromString,
        )
        return method(requests, timeout=timeout, metadata=self.metadata)
