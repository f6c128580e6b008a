"""What one client can make a gateway hold: the resident size of a real process, whatever arrives."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.core import messages
from tests.gateway_rig.client import RawClient, Reply, get, post
from tests.gateway_rig.rig import GatewayRig

MIB = 1 << 20
ROOM_BYTES = 12 * MIB
"""What a gateway may need beside what a test counts: its reads, and what the allocator keeps."""
CHUNKED = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")


class Peak:
    """How much the largest resident size of a gateway since now is above the one at this moment, in bytes."""

    def __init__(self, rig: GatewayRig) -> None:
        self._process = Path(f"/proc/{rig.process.pid}")
        (self._process / "clear_refs").write_text("5")  # the peak becomes what is resident now
        self._before_bytes = self._read("VmRSS")

    @property
    def growth_bytes(self) -> int:
        return self._read("VmHWM") - self._before_bytes

    def _read(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", (self._process / "status").read_text())
        assert found is not None
        return int(found[1]) * 1024


@pytest.fixture(scope="module")
def rig() -> Iterator[GatewayRig]:
    with GatewayRig() as rig:
        rig.serve(rig.worker("w1"), rig.worker("w2"))
        with rig.client() as client:
            assert client.ask(post(b"warm")).status == 200
        yield rig


def pour(client: RawClient, data: bytes, times: int) -> None:
    """Send `data` again and again, until the gateway has had enough."""
    with contextlib.suppress(OSError):
        for _ in range(times):
            client.send(data)


def refusal(client: RawClient) -> Reply:
    """The one error answer, after which the connection ends."""
    reply = client.reply()
    assert reply.headers["connection"] == "close"
    with contextlib.suppress(OSError):
        assert client.closed()
    return reply


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"3\r\nabc\r\n0\r\nX: ", b"A" * 65536),
        (b"3\r\nabc\r\n0\r\n", b"A: b\r\n" * 10_000),
        (b"3;", b"A" * 65536),
    ],
    ids=["one", "many", "extension"],
)
def test_endless_trailers_and_extensions(rig: GatewayRig, begin: bytes, more: bytes) -> None:
    peak = Peak(rig)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(rig.client()) for _ in range(4)]
        for client in clients:
            client.send(CHUNKED + begin)
        for client in clients:
            pour(client, more, 100)
            with rig.client() as other:
                assert other.ask(get("/ping")).status == 200
        for client in clients:
            reply = refusal(client)
            assert (reply.status, reply.json()["error_code"]) == (431, "HEADERS_TOO_LARGE")
    assert peak.growth_bytes < ROOM_BYTES


def test_chunks_of_two_bytes(rig: GatewayRig) -> None:
    peak = Peak(rig)
    with rig.client() as client:
        client.send(CHUNKED)
        pour(client, b"2\r\nab\r\n" * 10_000, 1600)
        reply = refusal(client)
        assert (reply.status, reply.json()["error_code"]) == (400, "BAD_REQUEST")
    assert peak.growth_bytes < ROOM_BYTES


def test_a_body_of_small_chunks_holds_what_it_is(rig: GatewayRig) -> None:
    chunk = b"10\r\n0123456789abcdef\r\n"
    gate = rig.directory / "gate-chunks"
    first = b"!wait %b " % str(gate).encode()
    with rig.client() as client:
        peak = Peak(rig)
        client.send(CHUNKED + b"%x\r\n%b\r\n" % (len(first), first))
        for _ in range(1024):
            client.send(chunk * 2048)
        arrived_bytes = 16 * 1024 * 2048
        assert peak.growth_bytes <= 1.5 * arrived_bytes
        client.send(b"1")


def test_bodies_that_are_not_used_are_not_kept(rig: GatewayRig) -> None:
    gate = rig.directory / "gate-unused"
    peak = Peak(rig)
    with rig.client() as client:
        client.send(post(b"!wait %b" % str(gate).encode()))
        for _ in range(30):
            client.send(post(b"x" * (8 * MIB), path="/nope"))
        assert peak.growth_bytes < ROOM_BYTES
        gate.touch()
        assert client.reply().status == 200
        for _ in range(30):
            assert client.reply().status == 404


def test_bodies_for_a_model_that_does_not_serve_are_not_kept() -> None:
    with GatewayRig() as rig:
        rig.table([messages.Route(model="topic", reason="it is being loaded")], [])
        peak = Peak(rig)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(rig.client()) for _ in range(8)]
            for client in clients:
                client.send(post(b"x" * (8 * MIB))[:-1])
            assert peak.growth_bytes < ROOM_BYTES
            for client in clients:
                client.send(b"x")
                assert client.reply().status == 503
