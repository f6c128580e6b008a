"""The messages and services of `protos/`, from their compiled description (`make protos`), in a pool of their own.

No generated code: what the description says is read when the process starts, by whatever protobuf is there. A pool of
its own does not meet other definitions of the same names, such as those of a client library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

POOL = descriptor_pool.DescriptorPool()
_SET = descriptor_pb2.FileDescriptorSet.FromString(
    Path(__file__).with_name("protos").joinpath("protos.binpb").read_bytes()
)
for _file in _SET.file:
    POOL.AddSerializedFile(_file.SerializeToString())

INFERENCE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"
REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
SERVICES = (INFERENCE, HEALTH, *REFLECTION)


class Malformed(Exception):
    """Bytes that are no message of the kind that was expected; the text says which."""


def kind(name: str) -> Any:
    """The class of the messages of this full name."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def parse(message_class: Any, data: bytes) -> Any:
    """The message that `data` is; raises Malformed."""
    try:
        return message_class.FromString(data)
    except (DecodeError, ValueError, RecursionError):
        raise Malformed(f"The message is no {message_class.DESCRIPTOR.full_name}.") from None


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    written = bytearray()
    while number > 127:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def encode(message: Message) -> bytes:
    """The bytes of a message."""
    data: bytes = message.SerializeToString()
    return data
