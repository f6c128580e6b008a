"""The Model Context Protocol against a real gateway process with workers that do as they are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.core.contract import about, tools
from headrace.core.protocol import messages
from headrace.core.security.access import Access
from headrace.core.security.keys import make
from headrace.core.security.quotas import Quota
from headrace.core.security.roles import Grant
from tests.gateway_rig.client import Reply, get, post
from tests.gateway_rig.rig import GatewayRig, wait_until

KEYS = {
    name: make(bytes([number]) * 56, Grant(name=name, roles=(role,), models=(pattern,)))  # type: ignore[arg-type]
    for number, (name, role, pattern) in enumerate(
        [("all", "predict", "*"), ("slow", "predict", "*"), ("other", "predict", "other"), ("read", "read", "*")]
    )
}
NEW = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": NEW, "io.modelcontextprotocol/clientCapabilities": {}}
ACCEPT = "Accept: application/json, text/event-stream"
ABOUT = about.encode({"signature": {"inputs": '[{"name": "text", "type": "string"}]'}}, None, "Says what is what.")


@pytest.fixture(scope="module")
def rig() -> Iterator[GatewayRig]:
    access = Access(keys=tuple(key for key, _ in KEYS.values()))
    limits = messages.Limits(watched_headers=tools.HEADERS)
    with GatewayRig(("topic", None), access=access, limits=limits) as rig:
        rig.quotas = (Quota(who="slow", requests_per_s=0.001),)
        rig.tools = ("topic", "other", "id*")
        pools = [rig.pool("1", rig.worker("w1")), rig.pool("2", rig.worker("w2"), model="other")]
        rig.table(
            [
                messages.Route(model="topic", pool="1"),
                messages.Route(model="other", pool="2"),
                messages.Route(model="hidden", pool="2"),
                messages.Route(model="idle"),
            ],
            [msgspec.structs.replace(pool, about=ABOUT) for pool in pools],
        )
        yield rig


def send(rig: GatewayRig, body: Any, *headers: str, key: str = "all", model: str | None = None) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with rig.client(model) as client:
        return client.ask(post(data, f"Authorization: Bearer {KEYS[key][1]}", ACCEPT, *headers, path="/mcp"))


def ask(rig: GatewayRig, method: str, *, key: str = "all", **params: Any) -> dict[str, Any]:
    """The result, or the error, of a request as clients of the first generation send it."""
    reply = send(rig, {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}, key=key)
    told: dict[str, Any] = dict(reply.json())
    assert (told["jsonrpc"], told["id"]) == ("2.0", 7)
    return {"status": reply.status, "headers": reply.headers, **(told["result"] if "result" in told else told["error"])}


def call(rig: GatewayRig, name: str = "topic", *, key: str = "all", **arguments: Any) -> dict[str, Any]:
    return ask(rig, "tools/call", key=key, name=name, arguments=arguments)


@pytest.mark.parametrize(
    ("wanted", "given"), [("2025-06-18", "2025-06-18"), ("2024-11-05", "2024-11-05"), (NEW, "2025-11-25")]
)
def test_a_client_of_the_first_generation_begins_with_a_handshake(rig: GatewayRig, wanted: str, given: str) -> None:
    told = ask(rig, "initialize", protocolVersion=wanted, capabilities={}, clientInfo={"name": "a", "version": "1"})
    assert (told["protocolVersion"], told["capabilities"]) == (given, {"tools": {}})
    assert told["serverInfo"]["name"] == "headrace"
    assert "mcp-session-id" not in told["headers"]
    reply = send(rig, {"jsonrpc": "2.0", "method": "notifications/initialized"}, f"MCP-Protocol-Version: {given}")
    assert (reply.status, reply.body) == (202, b"")
    assert ask(rig, "ping")["status"] == 200


def test_everybody_sees_the_tools_that_they_may_call(rig: GatewayRig) -> None:
    (other, topic) = ask(rig, "tools/list")["tools"]
    assert (other["name"], topic["name"]) == ("other", "topic"), "one that is not offered, or does not serve"
    assert topic["description"] == "Says what is what."
    assert topic["inputSchema"]["required"] == ["dataframe_records"]
    assert [tool["name"] for tool in ask(rig, "tools/list", key="other")["tools"]] == ["other"]
    assert ask(rig, "tools/list", key="read")["tools"] == [], "a role that may know of models, and not ask them"


def test_a_call_is_a_request_like_any_other(rig: GatewayRig) -> None:
    told = call(rig, inputs=["a"])
    assert told["isError"] is False
    assert told["structuredContent"] == {"predictions": [{"inputs": ["a"]}]}
    assert json.loads(told["content"][0]["text"]) == told["structuredContent"]
    assert told["headers"]["headrace-model"] == "topic/1"
    assert rig.workers[0].bodies()[-1] == '{"inputs": ["a"]}', "not what was sent"
    assert call(rig, "other", key="other")["headers"]["headrace-model"] == "other/2"


@pytest.mark.parametrize("key", ["other", "read"])
def test_who_may_not_ask_a_model_is_told_as_if_it_were_not_there(rig: GatewayRig, key: str) -> None:
    refused, missing = call(rig, key=key), call(rig, "missing", key=key)
    assert (refused["code"], missing["code"]) == (-32602, -32602)
    assert refused["message"].replace("topic", "missing") == missing["message"]
    assert call(rig, "hidden")["code"] == -32602, "it is not offered"


def test_what_a_model_fails_on_is_a_result_that_an_agent_can_read(rig: GatewayRig) -> None:
    idle = call(rig, "idle")
    assert (idle["status"], idle["isError"]) == (200, True)
    assert "idle" in idle["content"][0]["text"]
    assert idle["headers"]["retry-after"] == "1"
    assert call(rig, key="slow")["isError"] is False
    assert "quota" in call(rig, key="slow")["content"][0]["text"]


def modern(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": "x", "method": method, "params": {"_meta": META, **params}}


def test_a_client_of_the_second_generation_begins_with_nothing(rig: GatewayRig) -> None:
    version = f"MCP-Protocol-Version: {NEW}"
    found: Any = send(rig, modern("server/discover"), version, "Mcp-Method: server/discover").json()["result"]
    assert NEW in found["supportedVersions"]
    assert (found["resultType"], found["cacheScope"]) == ("complete", "private")
    body = modern("tools/call", name="topic", arguments={"inputs": ["b"]})
    told: Any = send(rig, body, version, "Mcp-Method: tools/call", "Mcp-Name: topic").json()["result"]
    assert told["structuredContent"] == {"predictions": [{"inputs": ["b"]}]}
    assert told["resultType"] == "complete"
    reply = send(rig, body, version, "Mcp-Method: tools/call", "Mcp-Name: other")
    error: Any = reply.json()["error"]
    assert (reply.status, error["code"]) == (400, -32020)
    assert send(rig, modern("initialize"), version, "Mcp-Method: initialize").status == 404


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", (), 400, -32700),
        (b"\xff", (), 400, -32700),
        (b"[" * 10_000, (), 400, None),
        ([{"jsonrpc": "2.0", "id": 1, "method": "ping"}], (), 400, -32600),
        ({"jsonrpc": "2.0", "id": None, "method": "ping"}, (), 400, -32600),
        ({"jsonrpc": "2.0", "id": 1.5, "method": "ping"}, (), 400, -32600),
        ({"id": 1, "method": "ping"}, (), 400, -32600),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, (), 400, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": [1]}, (), 400, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 7}}, (), 400, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping"}, ("MCP-Protocol-Version: 1999-01-01",), 400, -32022),
        ({"jsonrpc": "2.0", "method": "x"}, ("MCP-Protocol-Version: 1999-01-01",), 400, -32022),
        ({"jsonrpc": "2.0", "id": 0, "method": "resources/list"}, (), 200, -32601),
        (
            {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "topic", "arguments": "x"}},
            (),
            200,
            -32602,
        ),
        (b" " * (4 * 1024 * 1024 + 1), (), 413, -32600),
        ({}, ("Content-Encoding: gzip",), 415, -32600),
    ],
)
def test_what_is_no_message_is_told_in_the_protocols_form(
    rig: GatewayRig, body: Any, headers: tuple[str, ...], status: int, code: int | None
) -> None:
    reply = send(rig, body, *headers)
    error: Any = reply.json()["error"]
    assert reply.status == status, error
    assert code in {None, error["code"]}
    assert error["message"]
    wants = isinstance(body, dict) and type(body.get("id")) is int and status != 415 and "jsonrpc" in body
    assert reply.json()["id"] == (body["id"] if wants else reply.json()["id"])


def test_what_is_no_post_of_json_is_refused(rig: GatewayRig) -> None:
    key = f"Authorization: Bearer {KEYS['all'][1]}"
    for method in ("GET", "DELETE"):
        with rig.client(None) as client:
            reply = client.ask(get("/mcp", key, "Accept: text/event-stream", method=method))
        assert (reply.status, reply.headers["allow"]) == (405, "POST")
    with rig.client(None) as client:
        assert client.ask(post(b"{}", key, "Accept: text/event-stream", path="/mcp")).status == 406
    with rig.client(None) as client:
        reply = client.ask(post(b"{}", path="/mcp"))
    error: Any = reply.json()["error"]
    assert (reply.status, reply.headers["www-authenticate"][:6]) == (401, "Bearer")
    assert error["data"] == {"error_code": "UNAUTHENTICATED"}
    with rig.client(None) as client:
        assert client.ask(post(b"{}", key, "Origin: https://evil.example", path="/mcp")).status == 403
    assert send(rig, {}, model="topic").status == 404, "a model's own port has no tools"


def test_calls_are_counted(rig: GatewayRig) -> None:
    before = rig.stats()
    call(rig, inputs=[1])
    after = rig.stats()
    for name in ("headrace_protocol_requests_total", "headrace_requests_total"):
        assert after[name] == before[name] + 1


def test_the_body_of_a_client_that_has_left_reaches_nobody(rig: GatewayRig, tmp_path: Path) -> None:
    held = tmp_path / "held"
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "topic"}}).encode()
    with rig.client("topic") as first:
        first.send(post(b"!wait %b" % str(held).encode(), f"Authorization: Bearer {KEYS['all'][1]}"))
        wait_until(lambda: any("!wait" in one for one in rig.workers[0].bodies()), "the worker is busy")
        with rig.client(None) as second:
            second.send(post(body, f"Authorization: Bearer {KEYS['all'][1]}", ACCEPT, path="/mcp"))
            wait_until(lambda: rig.stats()["headrace_queued_requests"] == 1, "the call waits")
        wait_until(lambda: rig.stats()["headrace_queued_requests"] == 0, "it is given up")
        held.touch()
        assert first.reply().status == 200
    assert rig.workers[0].bodies()[-1] != "{}"


def test_without_the_setting_there_is_no_such_path(rig: GatewayRig) -> None:
    offered, rig.tools = rig.tools, None
    try:
        rig.serve(rig.workers[0])
        assert send(rig, {"jsonrpc": "2.0", "id": 1, "method": "ping"}).status == 404
        with rig.client(None) as client:
            assert client.ask(get("/mcp", f"Authorization: Bearer {KEYS['all'][1]}")).status == 404
    finally:
        rig.tools = offered
