"""Targets, whatever their spelling."""

from __future__ import annotations

import pytest

from headrace.gateway.http.routing import Target, Want, resolve, split_target


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
