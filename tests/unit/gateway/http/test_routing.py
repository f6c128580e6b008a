"""Targets, whatever their spelling."""

from __future__ import annotations

import pytest

from headrace.gateway.http.routing import resolve, split_target
from headrace.gateway.http.targets import Target, Want
from headrace_worker.wire import OPENAI, V1, V2


@pytest.mark.parametrize(
    ("method", "target", "port_model", "expected"),
    [
        (b"POST", b"/invocations", "m", Target(Want.INVOKE, "m")),
        (b"POST", b"/invocations?x", "m", Target(Want.INVOKE, "m")),
        (b"POST", b"/invocation%73", "m", Target(Want.INVOKE, "m")),
        (b"POST", b"http://h:1/invocations", "m", Target(Want.INVOKE, "m")),
        (b"POST", b"/models/m/invocations", "m", Target(Want.INVOKE, "m")),
        (b"POST", b"/models/o/invocations", "m", Target(Want.WRONG_MODEL, "o")),
        (b"POST", b"/models/a%20b/invocations", None, Target(Want.INVOKE, "a b")),
        (b"POST", b"/models/a%2Fb/invocations", None, Target(Want.INVOKE, "a/b")),
        (b"POST", b"/endpoints/m/invocations", None, Target(Want.INVOKE, "m")),
        (b"POST", b"/endpoints/o/invocations", "m", Target(Want.WRONG_MODEL, "o")),
        (b"POST", b"/endpoints/invocations", None, Target(Want.NOT_FOUND)),
        (b"POST", b"/endpoints//invocations", None, Target(Want.NOT_FOUND)),
        (b"GET", b"/endpoints/m/ping", None, Target(Want.NOT_FOUND)),
        (b"POST", b"/invocations", None, Target(Want.NOT_FOUND)),
        (b"GET", b"/ping", None, Target(Want.HEALTH)),
        (b"HEAD", b"/health", "m", Target(Want.HEALTH, "m")),
        (b"GET", b"/models", None, Target(Want.MODELS)),
        (b"GET", b"/models", "m", Target(Want.NOT_FOUND)),
        (b"GET", b"/models/", None, Target(Want.REDIRECT, None, b"/models")),
        (b"GET", b"/ping//?a=b", "m", Target(Want.REDIRECT, None, b"/ping?a=b")),
        (b"GET", b"http://h/ping/", "m", Target(Want.REDIRECT, None, b"/ping")),
        (b"GET", b"/invocations", "m", Target(Want.WRONG_METHOD, "m", b"POST")),
        (b"POST", b"/ping", "m", Target(Want.WRONG_METHOD, "m", b"GET")),
        (b"HEAD", b"/version", "m", Target(Want.WRONG_METHOD, "m", b"GET")),
        (b"OPTIONS", b"*", "m", Target(Want.NOT_FOUND)),
        (b"CONNECT", b"host:80", "m", Target(Want.NOT_FOUND)),
        (b"GET", b"/", "m", Target(Want.NOT_FOUND)),
        (b"GET", b"http://h", "m", Target(Want.NOT_FOUND)),
        (b"GET", b"/models//ping", None, Target(Want.NOT_FOUND)),
        (b"GET", b"/models/ping", None, Target(Want.NOT_FOUND)),
    ],
)
def test_resolve(method: bytes, target: bytes, port_model: str | None, expected: Target) -> None:
    assert resolve(method, target, port_model) == expected


def test_split_target() -> None:
    assert split_target(b"/a%2Fb?c=%2F") == (b"/a/b", b"?c=%2F")
    assert split_target(b"/a?b://c") == (b"/a", b"?b://c")


@pytest.mark.parametrize(
    ("method", "target", "port_model", "expected"),
    [
        (b"GET", b"/v2", None, Target(Want.SERVER, None, b"", V2)),
        (b"GET", b"/v2/", "m", Target(Want.REDIRECT, None, b"/v2")),
        (b"GET", b"/v2/health/live", "m", Target(Want.LIVE, None, b"", V2)),
        (b"HEAD", b"/v2/health/ready", "m", Target(Want.HEALTH, "m", b"", V2)),
        (b"GET", b"/v2/health/ready", None, Target(Want.HEALTH, None, b"", V2)),
        (b"GET", b"/v2/models", None, Target(Want.MODELS, None, b"", V2)),
        (b"GET", b"/v2/models/m", None, Target(Want.METADATA, "m", b"", V2)),
        (b"GET", b"/v2/models/m/versions/3", "m", Target(Want.METADATA, "m", b"3", V2)),
        (b"GET", b"/v2/models/m/ready", None, Target(Want.READY, "m", b"", V2)),
        (b"GET", b"/v2/models/m/versions/3/ready", None, Target(Want.READY, "m", b"3", V2)),
        (b"POST", b"/v2/models/m/infer", "m", Target(Want.INFER, "m", b"", V2)),
        (b"POST", b"/v2/models/a%2Fb/versions/x/infer?q", None, Target(Want.INFER, "a/b", b"x", V2)),
        (b"POST", b"/v2/models/o/infer", "m", Target(Want.WRONG_MODEL, "o", b"", V2)),
        (b"POST", b"/models/m/v2/models/m/infer", None, Target(Want.INFER, "m", b"", V2)),
        (b"POST", b"/models/m/v2/models/o/infer", None, Target(Want.WRONG_MODEL, "o", b"", V2)),
        (b"POST", b"/models/o/v2/models/m/infer", "m", Target(Want.WRONG_MODEL, "o")),
        (b"GET", b"/models/m/v2/health/ready", None, Target(Want.HEALTH, "m", b"", V2)),
        (b"GET", b"/v2/models/m/infer", "m", Target(Want.WRONG_METHOD, "m", b"POST", V2)),
        (b"POST", b"/v2/repository/index", "m", Target(Want.INDEX, "m", b"", V2)),
        (b"POST", b"/v2/repository/models/m/unload", None, Target(Want.LOAD, "m", b"unload", V2)),
        (b"GET", b"/v2/nowhere", "m", Target(Want.NOT_FOUND, None, b"", V2)),
        (b"GET", b"/v2/models//ready", "m", Target(Want.NOT_FOUND, None, b"", V2)),
        (b"GET", b"/v2/models/m/versions/", "m", Target(Want.REDIRECT, None, b"/v2/models/m/versions")),
        (b"GET", b"/v23", "m", Target(Want.NOT_FOUND)),
        (b"GET", b"/v1/models", None, Target(Want.MODELS, None, b"", V1)),
        (b"GET", b"/v1/models/m", "m", Target(Want.READY, "m", b"", V1)),
        (b"POST", b"/feedback", "m", Target(Want.FEEDBACK, "m")),
        (b"POST", b"/feedback", None, Target(Want.FEEDBACK)),
        (b"POST", b"/models/m/feedback", None, Target(Want.FEEDBACK, "m")),
        (b"POST", b"/v1/chat/completions", "m", Target(Want.ASK, "m", b"chat", OPENAI)),
        (b"POST", b"/v1/embeddings", None, Target(Want.ASK, None, b"embeddings", OPENAI)),
        (b"POST", b"/models/m/v1/responses", None, Target(Want.ASK, "m", b"responses", OPENAI)),
        (b"POST", b"/models/n/v1/completions", "m", Target(Want.WRONG_MODEL, "n")),
        (b"GET", b"/v1/embeddings", "m", Target(Want.WRONG_METHOD, "m", b"POST", OPENAI)),
        (b"POST", b"/v1/images/generations", "m", Target(Want.NOT_FOUND, "m", b"", OPENAI)),
        (b"POST", b"/v1/models/m:predict", "m", Target(Want.INFER, "m", b"", V1)),
        (b"POST", b"/v1/models/m:explain", "m", Target(Want.NOT_FOUND, None, b"", V1)),
        (b"GET", b"/openapi.json", "m", Target(Want.OPENAPI, "m")),
        (b"GET", b"/openapi.json", None, Target(Want.NOT_FOUND)),
        (b"GET", b"/models/m/openapi.json", None, Target(Want.OPENAPI, "m")),
        (b"GET", b"/models/o/openapi.json", "m", Target(Want.WRONG_MODEL, "o")),
        (b"GET", b"/docs", "m", Target(Want.DOCS)),
        (b"GET", b"/docs", None, Target(Want.NOT_FOUND)),
        (b"GET", b"/models/o/docs", "m", Target(Want.DOCS)),
        (b"POST", b"/v1/models/:predict", "m", Target(Want.NOT_FOUND, None, b"", V1)),
    ],
)
def test_routes_of_other_protocols(method: bytes, target: bytes, port_model: str | None, expected: Target) -> None:
    assert resolve(method, target, port_model) == expected
