"""The data port's protocol: how bytes are cut never matters, order holds, and nothing that is sent breaks it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.core.protocol.messages import Limits
from tests.unit.gateway.wiretap import Tap

LIMITS = Limits(max_header_bytes=2000, max_body_bytes=300, max_pipelined=4)
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n(?:[a-z-]+: [^\r\n]*\r\n)*\r\n")


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def request(method: str, path: str, body: bytes, framing: str, extra: str) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: h\r\n{extra}"
    if framing == "chunked":
        half = len(body) // 2
        parts = [part for part in (body[:half], body[half:]) if part]
        encoded = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + encoded
    if framing == "length":
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    return f"{head}\r\n".encode()


requests = st.builds(
    request,
    st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "FOO"]),
    st.sampled_from(["/invocations", "/invocations", "/ping", "/nope", "/invocations/", "/models/x/ping"]),
    st.binary(max_size=320),
    st.sampled_from(["length", "length", "chunked", "none"]),
    st.sampled_from(
        [
            "",
            "",
            "",
            "X-Request-Id: mine\r\n",
            "Content-Type: application/json\r\n",
            "Connection: close\r\n",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
            "Content-Length: 5\r\n",
            "Request-Timeout-Ms: no\r\n",
            "Bad Name: x\r\n",
            "Long: " + "x" * 2100 + "\r\n",
        ]
    ),
)
streams = st.lists(requests, min_size=1, max_size=12).map(b"".join) | st.binary(max_size=400)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


def answers_to(loop: asyncio.AbstractEventLoop, pieces: list[bytes]) -> bytes:
    tap = Tap(loop, LIMITS)
    for piece in pieces:
        tap.feed(piece)
    written = bytes(tap.transport.written)
    tap.close()
    return written


@settings(max_examples=150, deadline=None)
@given(data=streams, places=st.lists(st.integers(min_value=0, max_value=10_000), max_size=20))
@example(data=request("FOO", "/ping", b"", "none", "") * 2, places=[])
def test_the_way_bytes_are_cut_changes_no_answer(
    loop: asyncio.AbstractEventLoop, data: bytes, places: list[int]
) -> None:
    whole = answers_to(loop, [data])
    assert statuses(answers_to(loop, cut(data, places))) == statuses(whole)
    assert statuses(answers_to(loop, [bytes((byte,)) for byte in data])) == statuses(whole)


def statuses(written: bytes) -> list[bytes]:
    """The answers' statuses and bodies. A method that nobody knows is 405 or 404 if its line came whole, else 400."""
    found = [(m[1], m.end(), m[0]) for m in ANSWER.finditer(written)]
    result = []
    for status, end, head in found:
        length = re.search(rb"content-length: (\d+)", head)
        body = written[end : end + int(length[1])] if length else b""
        last = b"connection: close" in head
        result.append(b"closed" if last and status in {b"307", b"400", b"404", b"405"} else status + b" " + body)
    return result


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=600) | st.lists(st.binary(max_size=30) | requests, max_size=10).map(b"".join))
def test_whatever_is_sent_is_answered_in_whole_answers(loop: asyncio.AbstractEventLoop, data: bytes) -> None:
    written = answers_to(loop, [data])
    at = 0
    while at < len(written):
        head = ANSWER.match(written, at)
        assert head, written[at : at + 200]
        length = re.search(rb"content-length: (\d+)", head[0])
        at = head.end() + (int(length[1]) if length else 0)
    assert at == len(written)


@settings(max_examples=100, deadline=None)
@given(
    order=st.permutations(range(10)), probes=st.sets(st.integers(min_value=0, max_value=9)), depth=st.integers(1, 12)
)
def test_answers_keep_the_order_of_requests_whatever_the_order_of_work(
    loop: asyncio.AbstractEventLoop, order: list[int], probes: set[int], depth: int
) -> None:
    tap = Tap(loop, Limits(max_pipelined=depth), hold=True)
    data = b"".join(
        request("GET", "/ping", b"", "none", "")
        if i in probes
        else request("POST", "/invocations", b"<%d>" % i, "length", "")
        for i in range(10)
    )
    tap.feed(data)
    for place in order:
        held = tap.gateway.held
        assert len(held) <= depth
        if held:
            tap.gateway.echo(held.pop(place % len(held)))
    while tap.gateway.held:
        tap.gateway.echo(tap.gateway.held.pop())
    expected = [503 if i in probes else i for i in range(10)]
    seen = [int(a) if a else 503 for a, _ in re.findall(rb"<(\d+)>|(HTTP/1.1 503)", bytes(tap.transport.written))]
    tap.close()
    assert seen == expected
