"""Faults between a client and a server: no failed call where a retry could have helped, no retry where none may be."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from headrace.client import (
    BadRequest,
    BudgetPolicy,
    ClientError,
    DeadlineExceeded,
    HedgePolicy,
    ModelError,
    Unavailable,
    connect,
)
from tests.client_rig.faults import CUT, GONE, HELD, LATE, RESET, RESET_AFTER
from tests.client_rig.proxy import Fault, Proxy
from tests.integration.serving import Serving
from tests.ports import free_port

pytestmark = pytest.mark.timeout(300)  # the server of all starts in one of them


@pytest.fixture
def echo(client_server: Serving) -> str:
    return client_server.url("echo")


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
