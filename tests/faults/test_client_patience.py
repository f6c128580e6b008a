"""How long a client waits, whom it asks next, and what becomes of its calls when it is closed or cancelled."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.client import (
    AsyncClient,
    BreakerPolicy,
    BudgetPolicy,
    DeadlineExceeded,
    HedgePolicy,
    Overloaded,
    PartialFailure,
    Unavailable,
    aconnect,
    connect,
)
from tests.client_rig.faults import CUT, GONE, HELD, RESET, SOON, collect
from tests.client_rig.proxy import Fault, Proxy
from tests.integration.serving import Serving, until

pytestmark = pytest.mark.timeout(300)  # the server of all starts in one of them


@pytest.fixture
def echo(client_server: Serving) -> str:
    return client_server.url("echo")


def test_a_server_that_does_not_answer_is_given_up_at_the_deadline(echo: str) -> None:
    with Proxy(echo, always=HELD) as proxy, connect(proxy.url, deadline_s=0.3) as client:
        with pytest.raises(DeadlineExceeded) as raised:
            client.predict(["a"])
        assert (raised.value.tries, raised.value.code) == (1, "DEADLINE_EXCEEDED")


def test_the_server_drops_what_nobody_waits_for(client_server: Serving, tmp_path: Path) -> None:
    runs, begun = tmp_path / "runs", tmp_path / "begun"
    with connect(client_server.url("echo")) as client:
        busy = threading.Thread(target=client.predict, args=([f"count:{begun}", "sleep:2"],))
        busy.start()
        until(begun.exists, "the worker to be busy")
        with pytest.raises(DeadlineExceeded):
            client.predict([f"count:{runs}", "sleep:0"], deadline_s=0.2)
        busy.join()
        assert client.predict(["a"]) == ["a"]
    assert not runs.exists(), "its deadline had passed while it waited: it must not reach the model"


def test_one_try_may_be_bounded(echo: str) -> None:
    with Proxy(echo, [HELD]) as proxy, connect(proxy.url, try_timeout_s=0.5, back_off_s=0.01) as client:
        assert client.ask(["a"]).tries == 2
        assert int(proxy.seen[0].headers["request-timeout-ms"]) <= 500


def test_retry_after_is_kept_to(echo: str) -> None:
    with Proxy(echo, [SOON]) as proxy, connect(proxy.url, back_off_s=0.001) as client:
        answer = client.ask(["a"])
        assert answer.tries == 2
        assert answer.took_s >= 1
        proxy.faults.append(Fault(status=429, headers="retry-after: 3600\r\n", body=b"{}"))
        with pytest.raises(Overloaded, match="deadline") as raised:
            client.predict(["a"])
        assert (raised.value.retry_after_s, raised.value.tries) == (3600, 1)


def test_several_addresses_stand_in_for_each_other(echo: str) -> None:
    with Proxy(echo, always=GONE) as sick, Proxy(echo) as well, connect([sick.url, well.url]) as client:
        answers = [client.ask(["a"]) for _ in range(20)]
        assert {a.address for a in answers} == {well.url}
        assert max(a.tries for a in answers) == 2
        assert len(sick.seen) < 5, "an address that fails is passed over"


def test_a_big_input_is_not_sent_on_to_a_server_that_is_gone(echo: str) -> None:
    with Proxy(echo, [Fault()], always=GONE) as proxy, connect(proxy.url, deadline_s=1, parallel=2) as client:
        with pytest.raises(PartialFailure) as raised:
            client.predict(list(range(1000)), max_rows=1)
        error = raised.value
        assert error.predictions in ([0, *([None] * 999)], [None, 1, *([None] * 998)])
        assert (error.failures[-1].stop, error.failures[-1].error.tries) == (1000, 0)
        assert "not sent" in str(error.failures[-1].error)
        assert len(error.failures) <= 4
        proxy.faults.append(GONE)
        proxy.always = Fault()
        with pytest.raises(PartialFailure) as raised:
            client.predict(list(range(20)), max_rows=1, max_tries=1)
        assert len(raised.value.failures) == 1, "who asks for one try gets it for all rows"


def test_work_goes_where_the_least_is_outstanding(echo: str) -> None:
    with Proxy(echo, always=Fault(hold_s=0.5)) as slow, Proxy(echo) as quick, connect([slow.url, quick.url]) as client:
        assert client.predict([str(i) for i in range(40)], max_rows=1, parallel=4) == [str(i) for i in range(40)]
        assert len(slow.seen) + len(quick.seen) == 40
        assert len(slow.seen) < len(quick.seen)


def test_a_budget_bounds_what_is_repeated(echo: str) -> None:
    budget = BudgetPolicy(ratio=0.0, per_s=0.001, burst=5)
    with Proxy(echo, always=GONE) as proxy, connect(proxy.url, budget=budget, back_off_s=0.001, deadline_s=5) as client:
        told = set()
        for _ in range(10):
            with pytest.raises(Unavailable) as raised:
                client.predict(["a"], max_tries=3)
            told.add(raised.value.message.partition("; ")[2])
        assert len(proxy.seen) == 10 + 5
        assert told == {"no try is left", "the retry budget leaves no other try before the deadline"}


def test_a_circuit_opens_and_closes(echo: str) -> None:
    breaker = BreakerPolicy(failures=3, open_s=0.4)
    with Proxy(echo, [GONE] * 3) as proxy, connect(proxy.url, breaker=breaker, max_tries=1) as client:
        for _ in range(3):
            with pytest.raises(Unavailable, match="by the proxy"):
                client.predict(["a"])
        with pytest.raises(Unavailable, match="circuit is open") as raised:
            client.predict(["a"])
        assert (raised.value.tries, len(proxy.seen)) == (0, 3)
        assert client.predict(["a"], breaker=None) == ["a"]
        assert client.predict(["a"]) == ["a"]


def test_a_slow_request_is_hedged_and_the_slow_copy_cancelled(echo: str) -> None:
    hedge = HedgePolicy(warm=20)
    with Proxy(echo) as proxy, connect(proxy.url, hedge=hedge) as client:
        for _ in range(20):
            client.predict(["a"])
        before = len(proxy.seen)
        proxy.faults.append(HELD)
        answer = client.ask(["b"])
        assert answer.value == ["b"]
        assert len(proxy.seen) == before + 2
        proxy.faults.append(HELD)
        with pytest.raises(DeadlineExceeded):
            client.predict(["c"], deadline_s=0.3, idempotent=False)
        assert len(proxy.seen) == before + 3, "what must not run twice is not copied"


def test_a_cancelled_call_closes_its_connection(echo: str) -> None:
    async def main() -> None:
        with Proxy(echo, [HELD]) as proxy:
            async with await aconnect(proxy.url) as client:
                call = asyncio.create_task(client.predict(["a"]))
                await asyncio.to_thread(until, lambda: proxy.seen, "the request")
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                assert await client.predict(["b"]) == ["b"]

    asyncio.run(main())


def test_a_stream_that_breaks_off_is_not_begun_again(echo: str) -> None:
    events = b"data: 1\n\ndata: 2\n\n"
    told = "content-type: text/event-stream\r\n"
    with Proxy(echo, [GONE]) as proxy, connect(proxy.url, back_off_s=0.01) as client:
        proxy.faults.append(Fault(status=200, headers=told, body=events))
        got: list[int] = []
        with client.stream(["a b"]) as stream, pytest.raises(Unavailable, match="broke off after 2 pieces"):
            collect(stream, got)
        assert got == [1, 2]
        assert len(proxy.seen) == 2, "once for the 503, once for the stream"


def test_threads_share_a_client(echo: str) -> None:
    with Proxy(echo, [RESET, GONE, CUT] * 3) as proxy, connect(proxy.url, back_off_s=0.01) as client:
        answers: dict[int, Any] = {}

        def ask(number: int) -> None:
            answers[number] = [client.predict([f"{number}-{i}"]) for i in range(10)]

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == {n: [[f"{n}-{i}"] for i in range(10)] for n in range(8)}


def test_closing_ends_the_calls_of_other_threads(echo: str) -> None:
    with Proxy(echo, always=HELD) as proxy:
        client = connect(proxy.url)
        errors: list[BaseException] = []

        def ask(call: Callable[[], object]) -> None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - what else comes is what this is about
                errors.append(error)

        calls: list[Callable[[], object]] = [
            lambda: client.predict(["a"]),
            lambda: client.predict(["a", "b", "c"], max_rows=1),
            lambda: next(client.stream(["a"])),
        ]
        threads = [threading.Thread(target=ask, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        until(lambda: len(proxy.seen) == 5, "every call's requests")
        client.close()
        for thread in threads:
            thread.join(60)
        assert [(type(error), "closed" in str(error)) for error in errors] == [(Unavailable, True)] * 3


def test_a_stream_outlives_nothing_of_its_client(echo: str) -> None:
    stream = connect(echo).stream(["a b"])
    gc.collect()
    assert list(stream) == ["a", "b"], "a stream keeps its client"
    client = connect(echo)
    stream = client.stream(["a b"])
    assert next(stream) == "a"
    client.close()
    with pytest.raises(Unavailable, match="closed"):
        next(stream)
    stream.close()


def test_a_client_that_nobody_closed_leaves_no_thread(echo: str) -> None:
    def loops() -> int:
        return sum(thread.name == "headrace-client" for thread in threading.enumerate())

    before = loops()
    for _ in range(3):
        assert connect(echo).predict(["a"]) == ["a"]
    gc.collect()
    until(lambda: loops() <= before, "the threads' ends")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a connection whose loop has ended
def test_a_client_says_that_it_belongs_to_another_event_loop(echo: str) -> None:
    async def make() -> AsyncClient:
        client = await aconnect(echo)
        assert await client.predict(["a"]) == ["a"]
        return client

    client = asyncio.run(make())
    with pytest.raises(Unavailable, match="another event loop") as raised:
        asyncio.run(client.predict(["a"]))
    assert raised.value.tries == 0
    del client, raised
    gc.collect()


def test_a_forked_child_uses_the_client_too(echo: str) -> None:
    with connect(echo) as client:
        assert client.predict(["a"]) == ["a"]
        child = os.fork()
        if child == 0:
            os._exit(0 if client.predict(["b"]) == ["b"] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.predict(["c"]) == ["c"]
