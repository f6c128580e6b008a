"""Server reflection: tells clients such as grpcurl which services there are, and how their messages are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.gateway.grpc import schema

_NOT_FOUND = 5
_INVALID_ARGUMENT = 3


def answerer(service: str) -> Callable[[bytes], bytes]:
    """What answers the messages of a reflection `service`; it raises schema.Malformed for what is none."""
    package = service.rpartition(".")[0]
    request, response = (schema.kind(f"{package}.ServerReflection{side}") for side in ("Request", "Response"))

    def answer(data: bytes) -> bytes:
        asked = schema.parse(request, data)
        made = response(valid_host=asked.host, original_request=asked)
        _tell(asked, made)
        return schema.encode(made)

    return answer


def _tell(asked: Any, made: Any) -> None:
    which = asked.WhichOneof("message_request")
    if which == "list_services":
        for name in schema.SERVICES:
            made.list_services_response.service.add(name=name)
        return
    find = {
        "file_by_filename": schema.POOL.FindFileByName,
        "file_containing_symbol": schema.POOL.FindFileContainingSymbol,
        "all_extension_numbers_of_type": schema.POOL.FindMessageTypeByName,
    }.get(which)
    if find is None:  # nothing is asked for, or an extension, of which there are none
        made.error_response.error_code = _NOT_FOUND if which else _INVALID_ARGUMENT
        made.error_response.error_message = "There are no extensions here; list_services says what there is."
        return
    name = getattr(asked, which)
    try:
        found = find(name)
    except KeyError:
        made.error_response.error_code = _NOT_FOUND
        made.error_response.error_message = "There is nothing of this name; list_services says what there is."
        return
    if which == "all_extension_numbers_of_type":
        made.all_extension_numbers_response.base_type_name = name
    else:
        made.file_descriptor_response.file_descriptor_proto.append(found.serialized_pb)
