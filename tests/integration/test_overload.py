"""More than can be served: what waits is bounded in rows and bytes, and one client cannot take all of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from headrace.core.protocol import messages
from tests.gateway_rig.client import RawClient, post
from tests.gateway_rig.rig import GatewayRig, wait_until

LIMITS = messages.Limits(watched_headers=("x-client-id",))
MINE, YOURS = "X-Client-Id: mine", "X-Client-Id: yours"


@pytest.fixture
def rig() -> Iterator[GatewayRig]:
    with GatewayRig(limits=LIMITS) as rig:
        yield rig


@contextlib.contextmanager
def busy(rig: GatewayRig) -> Iterator[None]:
    """While its only worker is busy with something else."""
    gate = rig.directory / "gate"
    with rig.client() as client:
        client.send(post(b"!wait %b" % str(gate).encode()))
        wait_until(lambda: rig.stats()["headrace_in_flight_requests"] == 1, "the worker is busy")
        yield
        gate.touch()
        assert client.reply().status == 200


def clients(rig: GatewayRig, stack: contextlib.ExitStack, count: int) -> list[RawClient]:
    return [stack.enter_context(rig.client()) for _ in range(count)]


def test_ten_times_what_fits_holds_no_more_than_what_fits(rig: GatewayRig) -> None:
    body = b'"%s"' % (b"x" * 10_000)
    # Frames so large that none is sent ahead to the busy worker.
    batch = messages.BatchOptions(max_rows=10_000)
    rig.serve(rig.worker("w1"), batch=batch, queue=messages.QueueOptions(max_bytes=20 * len(body)))
    with contextlib.ExitStack() as stack:
        crowd = clients(rig, stack, 200)
        with busy(rig):
            for client in crowd:
                client.send(post(body))
            wait_until(lambda: rig.stats()["headrace_shed_total"] == 180, "all that does not fit is turned away")
            stats = rig.stats()
            assert stats["headrace_queued_bytes"] == 20 * len(body)
            assert stats["headrace_queued_requests"] == 20
        statuses = [client.reply().status for client in crowd]
    assert sorted(statuses) == [200] * 20 + [503] * 180
    assert rig.stats()["headrace_queued_bytes"] == 0


def test_bytes_that_are_small_are_bounded_by_rows(rig: GatewayRig) -> None:
    rig.serve(rig.worker("w1"), queue=messages.QueueOptions(max_rows=30))
    with contextlib.ExitStack() as stack:
        crowd = clients(rig, stack, 100)
        with busy(rig):
            for client in crowd:
                client.send(post(b"[1, 2, 3]"))
            wait_until(lambda: rig.stats()["headrace_shed_total"] == 90, "all that does not fit is turned away")
            assert rig.stats()["headrace_queued_rows"] == 30
        assert sorted(client.reply().status for client in crowd) == [200] * 10 + [503] * 90


def test_a_client_has_its_share_by_header(rig: GatewayRig) -> None:
    options = messages.QueueOptions(max_rows_per_client=3, client_header="x-client-id")
    rig.serve(rig.worker("w1"), queue=options)
    with contextlib.ExitStack() as stack:
        mine = clients(rig, stack, 5)
        (yours,) = clients(rig, stack, 1)
        with busy(rig):
            for client in mine[:3]:
                client.send(post(b"1", MINE))
            wait_until(lambda: rig.stats()["headrace_queued_requests"] == 3, "three wait")
            refused = mine[3].ask(post(b"1", MINE))
            assert refused.status == 429
            assert refused.json()["error_code"] == "REQUEST_LIMIT_EXCEEDED"
            assert int(refused.headers["retry-after"]) >= 1
            yours.send(post(b"2", YOURS))
            wait_until(lambda: rig.stats()["headrace_queued_requests"] == 4, "another client's waits, too")
            # One that leaves gives back what it had.
            mine[0].socket.close()
            wait_until(lambda: rig.stats()["headrace_queued_requests"] == 3, "it is forgotten")
            mine[4].send(post(b"3", MINE))
            wait_until(lambda: rig.stats()["headrace_queued_requests"] == 4, "there is room again")
        assert [client.reply().status for client in (*mine[1:3], mine[4], yours)] == [200] * 4
        # Everything is over: a request that is larger than a share is taken where nothing else is.
        assert mine[3].ask(post(b"[1, 2, 3, 4, 5]", MINE)).status == 200
        assert mine[3].ask(post(b"!status 400", MINE)).status == 400
        assert mine[3].ask(post(b"[1, 2, 3]", MINE)).status == 200


def test_without_a_header_it_is_the_address_that_counts(rig: GatewayRig) -> None:
    rig.serve(
        rig.worker("w1"),
        queue=messages.QueueOptions(max_rows_per_client=2, client_header="x-client-id"),
        cache=messages.CacheOptions(),
    )
    with contextlib.ExitStack() as stack:
        crowd = clients(rig, stack, 4)
        with rig.client() as first:
            gate = rig.directory / "gate"
            first.send(post(b"!wait %b" % str(gate).encode()))
            wait_until(lambda: rig.stats()["headrace_in_flight_requests"] == 1, "the worker is busy")
            crowd[0].send(post(b"1"))
            wait_until(lambda: rig.stats()["headrace_queued_requests"] == 1, "one waits")
            # The same question, which would be coalesced, counts as well.
            assert crowd[1].ask(post(b"1")).status == 429
            assert crowd[2].ask(post(b"1", YOURS, "Request-Timeout-Ms: 1")).status == 504
            gate.touch()
            assert [client.reply().status for client in (first, crowd[0])] == [200, 200]
        assert crowd[3].ask(post(b"1")).headers["headrace-cache"] == "hit"
