"""Faults between a client and a server: no failed call where a retry could have helped, no retry where none may be."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import pytest

from headrace.client import (
    AsyncClient,
    BadRequest,
    BreakerPolicy,
    BudgetPolicy,
    ClientError,
    DeadlineExceeded,
    HedgePolicy,
    ModelError,
    Overloaded,
    PartialFailure,
    Unavailable,
    aconnect,
    connect,
)
from tests.client_rig.proxy import HANG, Fault, Proxy
from tests.integration.serving import Serving, ask, serving, until

pytestmark = pytest.mark.timeout(300)  # the server of all starts in one of them

RESET = Fault(reset=True)
RESET_AFTER = Fault(reset=True, after=True)
CUT = Fault(keep_bytes=5)
GONE = Fault(status=503)
SOON = Fault(status=429, headers="retry-after: 1\r\n", body=b"{}")
HELD = Fault(hold_s=HANG)
LATE = Fault(status=503, hold_s=0.2)


@pytest.fixture
def echo(client_server: Serving) -> str:
    return client_server.url("echo")


def collect(pieces: Iterable[Any], into: list[Any]) -> None:
    """Keep what comes before an error too."""
    for piece in pieces:
        into.append(piece)  # noqa: PERF402 - `extend` keeps nothing of what an iterator gave before it raised


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize(
    "fault",
    [RESET, RESET_AFTER, CUT, *(Fault(status=status) for status in (408, 429, 502, 503, 504))],
)
def test_what_may_pass_is_tried_again(echo: str, fault: Fault) -> None:
    with Proxy(echo, [fault, fault]) as proxy, connect(proxy.url, back_off_s=0.01) as client:
        answer = client.ask(["a"])
        assert (answer.value, answer.tries) == (["a"], 3)
        assert len({seen.headers["x-request-id"] for seen in proxy.seen}) == 1, "one call has one id"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 422, 500, 501, 302])
def test_what_will_not_pass_is_not_tried_again(echo: str, status: int) -> None:
    told = Fault(status=status, headers="x-request-id: srv-7\r\nlocation: /there\r\n")
    with Proxy(echo, always=told) as proxy, connect(proxy.url) as client:
        with pytest.raises(ModelError if status >= 500 else BadRequest) as raised:
            client.predict(["a"])
        error = raised.value
        assert (error.status, error.tries, error.request_id) == (status, 1, "srv-7")
        assert len(proxy.seen) == 1
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_what_a_model_raises_is_not_tried_again(echo: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with connect(echo) as client, pytest.raises(ModelError):
        client.predict([f"count:{runs}", "raise"])
    assert runs.read_text() == "once\n"


@pytest.mark.parametrize("fault", [RESET, RESET_AFTER, CUT, GONE, Fault(status=502), Fault(status=504)])
def test_what_must_not_run_twice_is_not_sent_twice(echo: str, fault: Fault, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with Proxy(echo, [fault]) as proxy, connect(proxy.url, idempotent=False) as client:
        with pytest.raises(ClientError) as raised:
            client.predict([f"count:{runs}"])
        assert raised.value.tries == len(proxy.seen) == 1
    assert not runs.exists() or runs.read_text() == "once\n"


@pytest.mark.parametrize(
    "fault",
    [Fault(status=429), Fault(status=408), Fault(status=503, body=b'{"error_code": "OVERLOADED", "message": "full"}')],
)
def test_what_never_ran_is_sent_again_even_then(echo: str, fault: Fault) -> None:
    with Proxy(echo, [fault]) as proxy, connect(proxy.url, idempotent=False, back_off_s=0.01) as client:
        assert client.ask(["a"]).tries == 2
        assert len(proxy.seen) == 2


def test_an_address_that_refuses_is_tried_again_even_then(echo: str) -> None:
    addresses = [f"http://127.0.0.1:{free_port()}", echo]
    with connect(addresses, idempotent=False) as client:
        for _ in range(4):
            assert client.predict(["a"]) == ["a"]


def test_the_error_at_the_end_says_everything(echo: str) -> None:
    with Proxy(echo, always=GONE) as proxy, connect(proxy.url, max_tries=3, back_off_s=0.01) as client:
        with pytest.raises(Unavailable) as raised:
            client.predict(["a"])
        error = raised.value
        assert (error.status, error.code, error.tries, error.address) == (503, "TEMPORARILY_UNAVAILABLE", 3, proxy.url)
        assert error.request_id == proxy.seen[0].headers["x-request-id"]
        assert str(error).startswith("by the proxy; no try is left (HTTP 503, TEMPORARILY_UNAVAILABLE, request ")
        with pytest.raises(Unavailable) as raised:
            client.predict(["a"], max_tries=1)
        assert (raised.value.tries, len(proxy.seen)) == (1, 4)


def test_no_bare_error_of_a_library_escapes() -> None:
    for url in (f"http://127.0.0.1:{free_port()}", "http://no-such-host.invalid"):
        with connect(url, deadline_s=0.5) as client, pytest.raises(ClientError) as raised:
            client.predict(["a"])
        assert isinstance(raised.value, (Unavailable, DeadlineExceeded))
    wrong: list[Any] = [
        "http://",
        "http://x:99999999",
        "http://x/?q=1",
        "http://a b",
        "http://x\n",
        [],
        None,
        5,
        b"http://x",
    ]
    for address in wrong:
        with pytest.raises(BadRequest):
            connect(address)
    with connect("localhost:5001") as client:
        assert repr(client) == "<Client of ('http://localhost:5001',)>"
    with pytest.raises(BadRequest, match="no model is there"):
        connect(Path("/no-such-model"))
    with connect("HTTP://localhost:5001") as client:
        assert repr(client) == "<Client of ('HTTP://localhost:5001',)>"
    with pytest.raises(BadRequest):
        connect("http://x", surprise=1)  # type: ignore[call-arg]


def test_an_address_that_is_no_model_server_is_said(echo: str) -> None:
    with Proxy(echo, always=Fault(status=200, body=b"{}")) as proxy, connect(proxy.url) as client:
        with pytest.raises(Unavailable, match="is this the address of a model server"):
            client.predict(["a"])
        assert len(proxy.seen) == 1


def test_the_deadline_holds_over_all_tries(echo: str) -> None:
    with Proxy(echo, always=GONE) as proxy, connect(proxy.url, deadline_s=0.8, max_tries=None) as client:
        with pytest.raises(Unavailable, match="deadline") as raised:
            client.predict(["a"])
        assert len(proxy.seen) > 1
        assert raised.value.tries - len(proxy.seen) in {0, 1}, "the last may be cut off before it is seen"
        assert raised.value.status == 503
        left = [int(seen.headers["request-timeout-ms"]) for seen in proxy.seen]
        assert left == sorted(left, reverse=True)
        assert 700 <= left[0] <= 800
        assert left[-1] < left[0]


@pytest.mark.parametrize(("first", "then", "error"), [(GONE, HELD, DeadlineExceeded), (LATE, LATE, Unavailable)])
def test_an_error_at_the_deadline_says_what_the_tries_met(
    echo: str, first: Fault, then: Fault, error: type[ClientError]
) -> None:
    with Proxy(echo, [first], always=then) as proxy, connect(proxy.url, deadline_s=1.5, back_off_s=0.01) as client:
        with pytest.raises(error, match="by the proxy") as raised:
            client.predict(["a"])
        assert raised.value.tries > 1
        assert raised.value.status == (503 if error is Unavailable else None)


def test_who_is_not_trusted_is_not_asked_again(echo: str) -> None:
    no_tls = echo.replace("http:", "https:")
    with connect(no_tls) as client, pytest.raises(Unavailable, match="WRONG_VERSION_NUMBER") as raised:
        client.predict(["a"])
    assert raised.value.tries == 1
    with connect([no_tls, echo]) as both:
        for _ in range(2):
            assert both.predict(["a"]) == ["a"], "another address may be trusted"


def test_no_cookie_of_a_server_is_kept(echo: str) -> None:
    odd = Fault(
        status=200, headers="set-cookie: \xff\xfe=;;expires=x\r\nset-cookie: a=b\r\n", body=b'{"predictions": [1]}'
    )
    with Proxy(echo, [odd]) as proxy, connect(proxy.url) as client:
        assert client.predict(["a"]) == [1]
        assert client.predict(["a"]) == ["a"]
        assert "cookie" not in proxy.seen[1].headers


def test_a_password_in_an_address_is_used_and_not_told(echo: str) -> None:
    with Proxy(echo, [Fault(status=401)]) as proxy, connect(proxy.url.replace("//", "//me:secret@")) as client:
        with pytest.raises(BadRequest) as raised:
            client.predict(["a"])
        assert proxy.seen[0].headers["authorization"].startswith("Basic ")
        assert "secret" not in f"{raised.value} {raised.value.address} {client!r} {client.ask(['a'])}"


def test_one_call_may_hedge_otherwise_but_has_no_budget_or_breaker_of_its_own(echo: str) -> None:
    with Proxy(echo) as proxy, connect(proxy.url) as client:
        for _ in range(2):
            client.predict(["a"])
        proxy.faults.append(HELD)
        assert client.predict(["b"], hedge=HedgePolicy(warm=1)) == ["b"]
        assert len(proxy.seen) == 4
        assert client.predict(["c"], budget=None, breaker=None) == ["c"]
        with pytest.raises(BadRequest, match="budget"):
            client.predict(["c"], budget=BudgetPolicy(burst=1))
        with pytest.raises(BadRequest, match="breaker"):
            client.predict(["c"], breaker=True)


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


class Load:
    """A few threads that predict without pause and note what fails."""

    def __init__(self, address: str) -> None:
        self._client = connect(address, deadline_s=100)
        self._stop = threading.Event()
        self.answers: dict[str, int] = {}
        self.failures: list[ClientError] = []
        self.tries = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                answer = self._client.ask(["good great happy"])
            except ClientError as error:
                self.failures.append(error)
                return
            with self._lock:
                told = f"{answer.model} {answer.value}"
                self.answers[told] = self.answers.get(told, 0) + 1
                self.tries += answer.tries

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._client.close()

    def stop(self) -> None:
        """Return when nobody asks any more."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 40) -> None:
        wanted = sum(self.answers.values()) + count
        until(lambda: self.failures or sum(self.answers.values()) >= wanted, f"{count} further answers")


def test_a_server_restarted_in_the_middle_fails_no_call(registry: str, tmp_path: Path) -> None:
    port = free_port()
    document = {
        "registry": {"tracking_uri": registry, "poll_s": 0.5},
        "admin": {"port": 0},
        "models": {"mood": {"uri": "models:/mood/1", "port": port, "environment": "local"}},
    }
    with serving(tmp_path, document) as first:
        first.url("mood")
        with Load(f"http://127.0.0.1:{port}") as load:
            load.more()
            first.stop(signal.SIGTERM)
            with serving(tmp_path, document) as second:
                second.url("mood")
                load.more()
                load.stop()
        assert load.failures == []
        assert set(load.answers) == {"mood/1 ['pos']"}
        assert load.tries > sum(load.answers.values()), "some calls had to try again"


@pytest.mark.filterwarnings("ignore")  # MLflow's client in this process
def test_a_version_swapped_in_the_middle_fails_no_call(client_registry: str, client_server: Serving) -> None:
    from mlflow import MlflowClient

    admin = MlflowClient(client_registry)
    with Load(client_server.url("sentiment")) as load:
        load.more()
        admin.set_registered_model_alias("sentiment", "production", "2")
        assert ask(f"{client_server.admin}/api/models/sentiment/refresh", method="POST").status == 202
        until(lambda: load.failures or any("/2 " in told for told in load.answers), "the new version")
        load.more()
    assert load.failures == []
    assert set(load.answers) == {"sentiment/1 ['positive']", "sentiment/2 ['positive']"}
