"""The cache's second level with a real Redis that is well, full of nonsense, stopped, killed and back again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from redis import Redis
from redis.exceptions import RedisError

from headrace.core.protocol import messages
from headrace.core.serving.cache_entries import key
from headrace_worker import wire
from tests.gateway_rig.client import RawClient, post
from tests.gateway_rig.rig import GatewayRig, wait_until

pytestmark = pytest.mark.needs("redis-server")

REDIS = shutil.which("redis-server") or "redis-server"
HEAD = wire.head(b"application/json")


class Server:
    """A redis-server on a Unix socket."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [REDIS, "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
        )
        wait_until(self._answers, "redis-server answers")

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False

    def client(self) -> Redis:
        return Redis(unix_socket_path=str(self.socket))

    def names(self) -> list[bytes]:
        with self.client() as client:
            found = client.keys()
            assert isinstance(found, list)
            return found

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="hr") as directory:  # short: it holds a Unix socket
        server = Server(Path(directory))
        yield server
        server.end()


@pytest.fixture
def rig() -> Iterator[GatewayRig]:
    with GatewayRig() as rig:
        yield rig


@pytest.fixture
def other_machine() -> Iterator[GatewayRig]:
    with GatewayRig() as rig:
        yield rig


def shared(rig: GatewayRig) -> defaultdict[str, float]:
    """What became of the lookups and writes so far."""
    rig.send(messages.AskStats(7))
    found: defaultdict[str, float] = defaultdict(float)
    for name, labels, value in rig.wait_for(messages.Stats).values:
        if name == "headrace_shared_cache_total":
            found[dict(labels)["result"]] += value
    return found


def serve(rig: GatewayRig, redis: Server, identity: str = "same", ttl_s: float | None = 60.0) -> None:
    """Serve 'topic' with one stub worker and the second level; a table tells the pool's identity."""
    if not rig.workers:
        rig.worker("w1")
    pool = msgspec.structs.replace(rig.pool("1", *rig.workers), identity=identity)
    route = messages.Route(model="topic", pool="1", cache=messages.CacheOptions(url=redis.url, ttl_s=ttl_s))
    rig.table([route], [pool])


def ask(client: RawClient, body: bytes) -> tuple[int, str, bytes]:
    reply = client.ask(post(body))
    return reply.status, reply.headers.get("headrace-cache", ""), reply.body


def until_asked(rig: GatewayRig, client: RawClient, seed: str = "u") -> None:
    """Ask new questions until the second level is asked, too."""
    numbers = iter(range(100_000))
    before = shared(rig)

    def asked() -> bool:
        client.ask(post(b'"%s%d"' % (seed.encode(), next(numbers))))
        now = shared(rig)
        return now["miss"] > before["miss"]

    wait_until(asked, "the second level is asked")


def test_two_machines_share_what_one_has_computed(rig: GatewayRig, other_machine: GatewayRig, redis: Server) -> None:
    serve(rig, redis)
    serve(other_machine, redis)
    with rig.client() as here, other_machine.client() as there:
        until_asked(rig, here)
        until_asked(other_machine, there, "v")
        status, how, body = ask(here, b"1")
        assert (status, how) == (200, "miss")
        wanted = key("same", HEAD, b"1")
        wait_until(lambda: wanted in redis.names(), "the answer is in Redis")
        assert ask(there, b"1") == (200, "hit", body)
        assert "1" not in other_machine.workers[0].bodies()
        # From then on it is in that machine's own memory.
        hits = shared(other_machine)["hit"]
        assert ask(there, b"1") == (200, "hit", body)
        assert shared(other_machine)["hit"] == hits == 1
        with redis.client() as client:
            ttl_ms = client.pttl(wanted)
            assert isinstance(ttl_ms, int)
            assert 0 < ttl_ms <= 60_000


def test_another_model_or_environment_finds_nothing(rig: GatewayRig, other_machine: GatewayRig, redis: Server) -> None:
    serve(rig, redis, "one")
    serve(other_machine, redis, "two", ttl_s=None)
    with rig.client() as here, other_machine.client() as there:
        until_asked(rig, here)
        until_asked(other_machine, there)
        ask(here, b"1")
        wait_until(lambda: key("one", HEAD, b"1") in redis.names(), "the answer is in Redis")
        assert ask(there, b"1")[1] == "miss"
        wait_until(lambda: key("two", HEAD, b"1") in redis.names(), "the other answer is in Redis")
        with redis.client() as client:
            assert client.pttl(key("two", HEAD, b"1")) == -1


def test_errors_are_never_written_and_nonsense_is_a_miss(rig: GatewayRig, redis: Server) -> None:
    serve(rig, redis)
    with rig.client() as client:
        until_asked(rig, client)
        with redis.client() as inside:
            inside.set(key("same", HEAD, b"2"), b"nonsense")
            inside.lpush(key("same", HEAD, b"3"), "a list")
        assert ask(client, b"!status 400")[:2] == (400, "miss")
        assert ask(client, b"2")[:2] == (200, "miss")
        assert ask(client, b"3")[:2] == (200, "miss")
        assert ask(client, b"4")[:2] == (200, "miss")
        # Writes leave in order: with the last of them the others are there, or never will be.
        wait_until(lambda: key("same", HEAD, b"4") in redis.names(), "the last answer is in Redis")
    assert key("same", HEAD, b"!status 400") not in redis.names()


def test_a_redis_that_hangs_or_dies_is_left_alone_until_it_is_back(rig: GatewayRig, redis: Server) -> None:
    serve(rig, redis)
    with rig.client() as client:
        until_asked(rig, client, "a")
        redis.process.send_signal(signal.SIGSTOP)
        failed = shared(rig)["failed"]
        for number in range(20):
            assert ask(client, b"%d" % number)[:2] == (200, "miss")
        stopped = shared(rig)
        assert stopped["failed"] > failed
        assert stopped["skipped"] > 0
        redis.process.send_signal(signal.SIGCONT)
        until_asked(rig, client, "b")
        redis.process.kill()
        redis.process.wait()
        for number in range(100, 120):
            assert ask(client, b"%d" % number)[:2] == (200, "miss")
        redis.start()
        until_asked(rig, client, "c")
        assert ask(client, b"7")[1] == "hit"  # its own memory was there all the time
    assert rig.process.poll() is None


def test_a_redis_that_was_never_there(rig: GatewayRig, redis: Server) -> None:
    redis.process.kill()
    redis.process.wait()
    serve(rig, redis)
    with rig.client() as client:
        assert ask(client, b"1")[:2] == (200, "miss")
        assert ask(client, b"1")[:2] == (200, "hit")
    assert shared(rig)["skipped"] == 1


def test_a_model_that_goes_while_redis_hangs_answers_whom_it_has(rig: GatewayRig, redis: Server) -> None:
    serve(rig, redis)
    with rig.client() as client:
        until_asked(rig, client)
        redis.process.send_signal(signal.SIGSTOP)
        client.send(post(b"1"))
        new = rig.worker("w2")
        rig.table([messages.Route(model="topic", pool="2")], [rig.pool("2", new)])
        assert client.reply().status == 200
        assert client.ask(post(b"2")).status == 200
        rig.wait_for(messages.Drained)
