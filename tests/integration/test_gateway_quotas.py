"""How much clients may ask for, against real gateway processes."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator

import pytest

from headrace.core.protocol import messages
from headrace.core.security.access import Access
from headrace.core.security.keys import make
from headrace.core.security.quotas import Quota, memory_bytes
from headrace.core.security.roles import Grant
from tests.gateway_rig.client import Reply, get, post
from tests.gateway_rig.rig import GatewayRig, wait_until

KEYS = {
    name: make(bytes([number]) * 56, Grant(name=name)) for number, name in enumerate(("slow", "rows", "two", "free"))
}
QUOTAS = (
    Quota(who="slow", requests_per_s=0.001, burst_s=3000.0),
    Quota(who="rows", rows_per_day=10),
    Quota(who="two", in_flight=2),
    Quota(who="127.0.0.1", requests_per_s=0.001),
)


@pytest.fixture
def rig() -> Iterator[GatewayRig]:
    access = Access(keys=tuple(key for key, _ in KEYS.values()), anonymous=Grant(name="anonymous"))
    with GatewayRig(("topic",), access=access) as rig:
        rig.quotas = QUOTAS
        rig.serve(rig.worker("w1"))
        yield rig


def bearer(name: str) -> str:
    return f"Authorization: Bearer {KEYS[name][1]}"


def asked(rig: GatewayRig, data: bytes) -> Reply:
    with rig.client() as client:
        return client.ask(data)


def test_a_rate_is_kept_and_told_with_when_to_come_again(rig: GatewayRig) -> None:
    request = post(b"1", bearer("slow"))
    with rig.client() as client:
        assert [client.ask(request).status for _ in range(3)] == [200] * 3
        for _ in range(2):
            reply = client.ask(request)
            assert (reply.status, reply.json()["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
            assert 900 < int(reply.headers["retry-after"]) <= 1000
            assert reply.headers["retry-after"] == reply.headers["ratelimit-reset"]
            assert reply.headers["ratelimit-remaining"] == "0"
            assert "requests a second" in str(reply.json()["message"])
    assert asked(rig, get("/ping", bearer("slow"))).status == 200, "probes are not counted"
    assert [asked(rig, post(b"1", bearer("free"))).status for _ in range(9)] == [200] * 9
    counted = rig.stats()
    assert (counted["headrace_quota_requests_total"], counted["headrace_quota_refused_total"]) == (3, 2)


def test_who_has_no_key_is_counted_by_address(rig: GatewayRig) -> None:
    assert [asked(rig, post(b"1")).status for _ in range(3)] == [200, 429, 429]


def test_rows_of_a_day(rig: GatewayRig) -> None:
    rows = json.dumps({"instances": ["a"] * 6}).encode()
    # Each is guessed to have 6 rows; the stub says that it was one.
    replies = [asked(rig, post(rows, bearer("rows"))) for _ in range(11)]
    assert [reply.status for reply in replies] == [200] * 10 + [429]
    assert replies[10].headers["ratelimit-policy"] == "10;w=86400"


def test_requests_at_a_time_also_of_clients_that_leave(rig: GatewayRig) -> None:
    slow = post(b"!wait /nowhere", bearer("two"))
    with rig.client() as first, rig.client() as second:
        first.send(slow)
        second.send(slow)
        wait_until(lambda: rig.stats()["headrace_quota_requests_total"] == 2, "both are counted")
        reply = asked(rig, post(b"1", bearer("two")))
        assert (reply.status, reply.headers["ratelimit-limit"]) == (429, "2")
        first.socket.close()
        wait_until(lambda: rig.stats()["headrace_dropped_total"] == 1, "one has left")
        with rig.client() as third:
            third.send(slow)
            wait_until(lambda: rig.stats()["headrace_quota_requests_total"] == 3, "the next is taken")


def test_quotas_that_change_hold_from_the_next_table_on(rig: GatewayRig) -> None:
    assert [asked(rig, post(b"1")).status for _ in range(2)] == [200, 429]
    rig.quotas = ()
    rig.table([messages.Route(model="topic", pool="1")], [rig.pool("1", rig.workers[0])])
    assert [asked(rig, post(b"1")).status for _ in range(2)] == [200, 200]


@pytest.fixture
def memory() -> Iterator[int]:
    fd = os.memfd_create("quotas")
    os.ftruncate(fd, memory_bytes(2))
    yield fd
    os.close(fd)


def test_several_gateways_count_together_and_one_that_is_replaced_forgets_nothing(memory: int) -> None:
    with contextlib.ExitStack() as stack:
        rigs = []
        for index in range(2):
            rigs.append(stack.enter_context(GatewayRig(("topic",), shared=(memory, 2, index))))
            rigs[index].quotas = (Quota(who="*", requests_per_s=0.001, burst_s=10_000.0),)
            rigs[index].serve(rigs[index].worker("w1"))
            assert asked(rigs[index], post(b"1")).status == 200
        one, other = rigs
        passed = [asked(rig, post(b"1")).status for rig in (one, other, one, one, other, one, other, one, other)]
        assert passed == [200] * 8 + [429]
        other.process.kill()
        other.wait_exit()
        other.control.close()
        other.start()
        other.serve(other.workers[0])
        assert asked(one, post(b"1")).status == 429
