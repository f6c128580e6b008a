"""Which messages are taken, and of which generation they are."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from headrace.gateway.mcp import requests
from headrace.gateway.mcp.requests import Fault, read

NEW = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": NEW, "io.modelcontextprotocol/clientCapabilities": {}}


def message(method: str = "tools/call", name: str | None = "topic", **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 3, "method": method, "params": {"name": name, **params}}).encode()


def headers(version: str | None = NEW, method: str = "tools/call", name: str | None = "topic") -> dict[bytes, bytes]:
    told = {b"mcp-protocol-version": version, b"mcp-method": method, b"mcp-name": name}
    return {key: value.encode() for key, value in told.items() if value is not None}


def fault(body: bytes, sent: dict[bytes, bytes]) -> Fault:
    with pytest.raises(Fault) as caught:
        read(body, sent)
    return caught.value


def test_a_message_is_of_the_generation_that_it_says() -> None:
    assert read(message(_meta=META), headers()).modern
    for version in (None, *requests.HANDSHAKE_VERSIONS):
        assert not read(message(), headers(version)).modern
    assert bytes(read(message(arguments={"a": [1]}), {}).params.arguments) == b'{"a": [1]}', (
        "other bytes than were sent"
    )


def test_a_name_that_is_no_header_comes_in_base64() -> None:
    name = f"=?base64?{base64.b64encode('Thémen'.encode()).decode()}?="
    assert read(message(name="Thémen", _meta=META), headers(name=name)).params.name == "Thémen"
    assert fault(message(name="x", _meta=META), headers(name="=?base64?!?=")).code == requests.HEADER_MISMATCH


@pytest.mark.parametrize(
    ("sent", "meta"),
    [
        (headers(name="other"), META),
        (headers(name=None), META),
        (headers(method="tools/list"), META),
        (headers(version=None), META),
        (headers(), {**META, "io.modelcontextprotocol/protocolVersion": "2025-11-25"}),
    ],
)
def test_headers_that_contradict_the_body_are_refused(sent: dict[bytes, bytes], meta: Any) -> None:
    found = fault(message(_meta=meta), sent)
    assert (found.code, found.id, found.status) == (requests.HEADER_MISMATCH, 3, 400)


def test_a_version_that_is_not_spoken_is_told_with_those_that_are() -> None:
    wanted = {**META, "io.modelcontextprotocol/protocolVersion": "2031-01-01"}
    for meta in (wanted, {}):
        found = fault(message(_meta=meta), headers("2031-01-01"))
        assert found.code == requests.UNSUPPORTED_VERSION
        assert found.data == {"supported": requests.VERSIONS, "requested": "2031-01-01"}


def test_what_the_second_generation_must_say_is_missed() -> None:
    assert fault(message(), headers()).code == requests.INVALID_PARAMS


def test_the_id_of_what_is_refused_is_told_also_where_it_is_zero() -> None:
    assert fault(b'{"id": 0, "method": "ping"}', {}).id == 0
    assert fault(b'{"method": "ping"}', {}).id is None
