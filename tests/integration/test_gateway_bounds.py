"""What one client can make a gateway hold: the resident size of a real process, whatever arrives."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from headrace.core.protocol import messages
from headrace.supervisor.processes.cores import request_memory_bytes
from tests.gateway_rig.client import RawClient, Reply, get, post
from tests.gateway_rig.rig import GatewayRig, wait_until
from tests.integration.serving import ask, serving
from tests.registries import place

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


def pour_until_it_stands(client: RawClient, data: bytes) -> int:
    """Send until all is sent or nothing is taken for a second; returns how many bytes were taken."""
    sent = 0
    client.socket.setblocking(False)
    while sent < len(data) and select.select([], [client.socket], [], 1.0)[1]:
        sent += client.socket.send(data[sent : sent + MIB])
    client.socket.settimeout(60.0)
    return sent


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
    with rig.client() as client:
        peak = Peak(rig)
        client.send(CHUNKED + b"7\r\n!error \r\n")
        for _ in range(1024):
            client.send(chunk * 2048)
        assert client.ask(b"0\r\n\r\n").status == 400  # the stub worker's: it had all of it
        assert peak.growth_bytes <= 1.5 * 1024 * 2048 * 16


def test_a_large_body_is_not_copied_on_its_way_to_the_worker(rig: GatewayRig) -> None:
    body = b"!error " + b"x" * (48 * MIB)
    with rig.client() as client:
        peak = Peak(rig)
        assert client.ask(post(body)).status == 400
        assert peak.growth_bytes <= 1.5 * len(body)


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


def test_requests_are_read_ahead_to_a_bound(rig: GatewayRig) -> None:
    gate = rig.directory / "gate-ahead"
    bodies = 24
    data = post(b"!error " + b"x" * (4 * MIB)) * bodies
    peak = Peak(rig)
    with rig.client() as client:
        client.send(post(b"!wait %b" % str(gate).encode()))
        sent = pour_until_it_stands(client, data)
        assert sent < len(data)
        assert peak.growth_bytes < ROOM_BYTES + 8 * MIB
        assert MIB < rig.stats()["headrace_request_memory_bytes"] < 12 * MIB
        gate.touch()
        rest = threading.Thread(target=client.send, args=(data[sent:],))
        rest.start()
        assert client.reply().status == 200
        assert [client.reply().status for _ in range(bodies)] == [400] * bodies
        rest.join()
        assert peak.growth_bytes < ROOM_BYTES + 16 * MIB
    wait_until(lambda: rig.stats()["headrace_request_memory_bytes"] == 0, "all is given back")


def test_heads_are_read_ahead_to_a_bound(rig: GatewayRig) -> None:
    gate = rig.directory / "gate-heads"
    data = get("/ping") * 500_000
    peak = Peak(rig)
    with rig.client() as client:
        client.send(post(b"!wait %b" % str(gate).encode()))
        assert pour_until_it_stands(client, data) < len(data)
        assert peak.growth_bytes < ROOM_BYTES + 8 * MIB
        gate.touch()
        assert client.reply().status == 200
        assert [client.reply().status for _ in range(1000)] == [200] * 1000


LIMIT_BYTES = 32 * MIB


@pytest.fixture(scope="module")
def small() -> Iterator[GatewayRig]:
    """A gateway with little memory."""
    with GatewayRig(limits=messages.Limits(max_memory_bytes=LIMIT_BYTES)) as rig:
        rig.serve(rig.worker("w1"), rig.worker("w2"), batch=messages.BatchOptions(max_rows=1))
        with rig.client() as client:
            assert client.ask(post(b"warm")).status == 200
        yield rig


def test_all_connections_share_one_budget_fairly(small: GatewayRig) -> None:
    refused = small.stats()["headrace_refused_total"]
    peak = Peak(small)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(small.client()) for _ in range(16)]
        for client in clients:
            pour(client, post(b"!error " + b"x" * (8 * MIB))[:-1], 1)
        wait_until(lambda: small.stats()["headrace_refused_total"] > refused, "one is turned away")
        held_bytes = small.stats()["headrace_request_memory_bytes"]
        assert 0 < held_bytes <= LIMIT_BYTES
        with small.client() as other:  # little is always taken
            assert other.ask(post(b"x" * 4000)).status == 200
        statuses = []
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(b"x")
            reply = client.reply()
            statuses.append(reply.status)
            if reply.status == 503:
                assert reply.json()["error_code"] == "OVERLOADED"
                assert int(reply.headers["retry-after"]) >= 1
        assert set(statuses) == {400, 503}
    assert peak.growth_bytes < LIMIT_BYTES + ROOM_BYTES
    wait_until(lambda: small.stats()["headrace_request_memory_bytes"] == 0, "all is given back")


def test_no_body_is_larger_than_its_share(small: GatewayRig) -> None:
    with small.client() as client:
        pour(client, post(b"x" * (LIMIT_BYTES // 2 + 1)), 1)
        assert refusal(client).status == 413


def test_answers_that_nobody_reads_are_bounded(small: GatewayRig) -> None:
    peak = Peak(small)
    with small.client() as idle, small.client() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        pour(client, post(b"!big %d" % MIB) * 20, 20)
        wait_until(lambda: small.stats()["headrace_turned_away_total"] > 0, "it is cut off")
        assert idle.ask(post(b"1")).status == 200
    assert peak.growth_bytes < LIMIT_BYTES + 2 * ROOM_BYTES
    wait_until(lambda: small.stats()["headrace_request_memory_bytes"] == 0, "all is given back")


def test_answers_that_wait_for_their_turn_are_counted(small: GatewayRig) -> None:
    gate = small.directory / "gate-turn"
    with small.client() as client:
        client.send(post(b"!wait %b" % str(gate).encode()) + post(b"!big %d" % MIB) * 3)
        wait_until(lambda: small.stats()["headrace_request_memory_bytes"] >= 2 * MIB, "they wait")
        gate.touch()
        assert [len(client.reply().body) for _ in range(4)][1:] == [MIB] * 3
    wait_until(lambda: small.stats()["headrace_request_memory_bytes"] == 0, "all is given back")


def test_a_client_may_have_so_many_connections() -> None:
    with GatewayRig(limits=messages.Limits(max_connections_per_client=2)) as rig:
        rig.serve(rig.worker("w1"))
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(rig.client()) for _ in range(3)]
            assert [client.ask(get("/ping")).status for client in clients[:2]] == [200, 200]
            reply = refusal(clients[2])
            assert (reply.status, reply.json()["error_code"]) == (503, "OVERLOADED")
            with RawClient(rig.address(), source="127.0.0.2") as other:
                assert other.ask(get("/ping")).status == 200
            assert rig.wait_for(messages.Crowded).reason == "client"
            clients[0].socket.close()
            wait_until(lambda: rig.stats()["headrace_connections_open"] == 1, "the others are gone")
            with rig.client() as again:
                assert again.ask(get("/ping")).status == 200


def test_without_descriptors_a_client_is_told_so() -> None:
    with GatewayRig(descriptors=120) as rig:
        rig.serve(rig.worker("w1"))
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(rig.client()) for _ in range(110)]
            statuses = []
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(get("/ping"))
                reply = client.reply()
                statuses.append(reply.status)
                if reply.status == 503:
                    assert "file descriptors" in str(reply.json()["message"])
                    assert int(reply.headers["retry-after"]) >= 1
            assert statuses.count(200) >= 60
            assert statuses.count(503) >= 20
            assert len(statuses) == 110
            assert rig.stats()["headrace_turned_away_total"] == statuses.count(503)
            assert rig.wait_for(messages.Crowded).reason == "descriptors"
            assert not [m for m in rig.received if isinstance(m, messages.Crowded)]
        wait_until(lambda: rig.stats()["headrace_connections_open"] == 0, "all are gone")
        with rig.client() as client:
            assert client.ask(post(b"1")).status == 200


def test_serve_tells_what_it_may_hold_and_whom_it_turned_away(tmp_path: Path, registry: str) -> None:
    config = {
        "admin": {"port": 0},
        "gateway": {"max_connections": 2, "processes": 1},
        "models": {"mood": {"uri": place(registry, "mood/1"), "port": 0, "environment": "local"}},
    }
    with serving(tmp_path, config) as running:
        address = urlsplit(running.url("mood"))
        here = (address.hostname or "", address.port or 0)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(RawClient(here)) for _ in range(4)]
            statuses = []
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(get("/ping"))
                statuses.append(client.reply().status)
            assert statuses == [200, 200, 503, 503]
        assert running.event("connections turned away", limit="gateway.max_connections")["level"] == "warning"
        text = ask(f"{running.admin}/metrics").body.decode()
        assert re.search(r'headrace_turned_away_total\{reason="connections"\} [2-9]', text)
        limit = re.search(r"^headrace_request_memory_limit_bytes (\S+)", text, re.MULTILINE)
        assert limit is not None
        assert float(limit[1]) == request_memory_bytes(1)
        running.stop()
        assert len([e for e in running.events if e["event"] == "connections turned away"]) == 1
