"""Ten thousand connections that each do a little harm: one gateway, whose other clients notice nothing of it."""

from __future__ import annotations

import contextlib
import random
import resource
import socket
import struct
from collections.abc import Iterator

import psutil
import pytest

from headrace.core.protocol import messages
from tests.gateway_rig.client import get, post
from tests.gateway_rig.rig import GatewayRig, wait_until
from tests.integration.test_gateway_bounds import CHUNKED, MIB, Peak

CONNECTIONS = 9_900
"""A gateway takes 10,000; the rest is for the clients that do no harm."""
ROUNDS = 30
BUDGET_BYTES = 256 * MIB
CONNECTION_BYTES = 16 * 1024
"""What a connection may take beside the requests that it makes the gateway hold: the budget counts those."""

HALF = post(b"never").partition(b"Content-Length")[0]


def harm(kind: str, chance: random.Random) -> Iterator[bytes]:
    """What a connection of this kind sends, a piece a round (b"": nothing). At its end the connection is closed."""
    match kind:
        case "silence":
            while True:
                yield b""
        case "half heads":
            yield HALF
            while True:
                yield b"X-%d: %s\r\n" % (chance.randrange(100), b"a" * chance.randrange(100))
        case "slow bodies":
            yield post(b"").replace(b"Content-Length: 0", b"Content-Length: 1000000")
            while True:
                yield b"x" * chance.randrange(200)
        case "tiny chunks":
            yield CHUNKED
            while True:
                yield b"2\r\nab\r\n" * 20
        case "endless trailers":
            yield CHUNKED + b"3\r\nabc\r\n0\r\n"
            while True:
                yield b"A: b\r\n" * 50
        case "bodies for nobody":
            while True:
                yield post(b"x" * 2000, path="/nope") * 3
        case "answers that nobody reads":
            while True:
                yield post(b"!big 20000")
        case "pings":
            while True:
                yield get("/ping")
        case "predictions":
            while True:
                yield post(b'"a"') * 2
        case "noise":
            while True:
                yield chance.randbytes(chance.randint(1, 300))
        case "short lives":
            for _ in range(chance.randint(1, 3)):
                yield get("/ping")[: chance.randint(1, 30)]
        case _:
            raise ValueError(kind)


KINDS = (
    "silence",
    "half heads",
    "slow bodies",
    "tiny chunks",
    "endless trailers",
    "bodies for nobody",
    "answers that nobody reads",
    "pings",
    "predictions",
    "noise",
    "short lives",
)


class Harm:
    """A connection of this kind that comes again when it has ended or was ended."""

    def __init__(self, kind: str, address: tuple[str, int], chance: random.Random) -> None:
        self.kind = kind
        self._address = address
        self._chance = chance
        self.again = 0
        self._begin()

    def _begin(self) -> None:
        self._pieces = harm(self.kind, self._chance)
        self.socket = socket.socket()
        # No port is left waiting after its connection: there are fewer of them than these connections need.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.connect(self._address)
        self.socket.setblocking(False)

    def close(self) -> None:
        """End it as a client does that has lost its process."""
        self.socket.close()

    def go_on(self) -> None:
        """Send the next piece, and read what there is, unless this kind never reads."""
        piece = next(self._pieces, None)
        is_open = piece is not None
        try:
            if piece:
                with contextlib.suppress(BlockingIOError):  # more was sent than is taken: this piece is left out
                    self.socket.send(piece)
            if self.kind != "answers that nobody reads":
                with contextlib.suppress(BlockingIOError):
                    is_open = is_open and self.socket.recv(1 << 16) != b""
        except OSError:
            is_open = False
        if not is_open:
            self.socket.close()
            self.again += 1
            self._begin()


@pytest.fixture
def descriptors() -> Iterator[None]:
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < CONNECTIONS + 1000:
        pytest.skip(f"needs {CONNECTIONS + 1000:,} descriptors, and `ulimit -Hn` is {most:,}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


@pytest.mark.slow
@pytest.mark.usefixtures("descriptors")
def test_ten_thousand_connections_that_do_harm_are_not_noticed() -> None:
    limits = messages.Limits(max_memory_bytes=BUDGET_BYTES)
    with GatewayRig(limits=limits) as rig, contextlib.ExitStack() as stack:
        rig.serve(rig.worker("w1"), rig.worker("w2"))
        calm = stack.enter_context(rig.client())
        assert calm.ask(post(b'"calm"')).status == 200
        gateway = psutil.Process(rig.process.pid)
        open_before = gateway.num_fds()
        peak = Peak(rig)
        harms: list[Harm] = []
        for number in range(CONNECTIONS):
            harms.append(Harm(KINDS[number % len(KINDS)], rig.address(), random.Random(number)))
            stack.callback(harms[-1].close)
            if number % 500 == 0:
                assert calm.ask(post(b'"calm"')).status == 200
        for _ in range(ROUNDS):
            for number, one in enumerate(harms):
                one.go_on()
                if number % 1000 == 0:
                    assert calm.ask(post(b'"calm"')).body == b'{"predictions": ["calm"]}'
                    assert calm.ask(get("/ping")).status == 200
        growth_bytes = peak.growth_bytes
        came_again = {kind: sum(one.again for one in harms if one.kind == kind) for kind in KINDS}

        for one in harms:
            one.close()
        wait_until(lambda: gateway.num_fds() <= open_before, "its descriptors back")
        assert calm.ask(post(b'"calm"')).status == 200
        with rig.client() as other:
            assert other.ask(post(b'"other"')).status == 200
        assert growth_bytes < BUDGET_BYTES + CONNECTIONS * CONNECTION_BYTES
        # They were what they are called: those were ended for what they did, these did nothing wrong.
        assert came_again["noise"]
        assert came_again["short lives"]
        assert {kind: came_again[kind] for kind in ("pings", "predictions")} == {"pings": 0, "predictions": 0}
