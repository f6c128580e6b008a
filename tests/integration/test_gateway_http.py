"""HTTP as clients really speak it, against a real gateway process with a real peer behind it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from headrace.core.protocol import messages
from tests.gateway_rig.client import RawClient, get, post
from tests.gateway_rig.rig import GatewayRig, wait_until


@pytest.fixture(scope="module")
def rig() -> Iterator[GatewayRig]:
    with GatewayRig(("topic", None)) as rig:
        rig.serve(rig.worker("w1"), rig.worker("w2"))
        yield rig


@pytest.fixture
def client(rig: GatewayRig) -> Iterator[RawClient]:
    with rig.client() as client:
        yield client


def test_an_answer_says_whose_it_is_and_repeats_the_request_id(client: RawClient) -> None:
    reply = client.ask(post(b'["a"]', "X-Request-Id: abc-1"))
    assert (reply.status, reply.body) == (200, b'{"predictions": [["a"]]}')
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["headrace-model"] == "topic/1"
    assert reply.headers["x-request-id"] == "abc-1"
    assert "connection" not in reply.headers


@pytest.mark.parametrize("bad", ["a b", "x" * 129, "\u00e9", ""])
def test_a_request_id_that_could_do_harm_is_replaced(client: RawClient, bad: str) -> None:
    made = client.ask(post(b"1", f"X-Request-Id: {bad}")).headers["x-request-id"]
    assert made not in {bad, ""}
    assert made.isascii()


def test_pipelined_requests_are_answered_in_their_order(client: RawClient) -> None:
    client.send(b"".join(post(b"%d" % i) if i % 3 else get("/ping") for i in range(200)))
    for i in range(200):
        assert client.reply().body == (b'{"predictions": [%d]}' % i if i % 3 else b"\n")


def test_a_request_in_single_bytes_is_a_request(client: RawClient) -> None:
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in post(b"slow"):
        client.send(bytes((byte,)))
    assert client.reply().body == b'{"predictions": [slow]}'


def test_head_on_probes_has_no_body_and_the_connection_goes_on(client: RawClient) -> None:
    for path in ("/ping", "/health"):
        client.send(get(path, method="HEAD"))
        assert client.reply(head_only=True).status == 200
    client.send(get("/invocations", method="HEAD"))
    reply = client.reply(head_only=True)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert client.ask(post(b"1")).status == 200


def test_chunked_bodies(client: RawClient) -> None:
    head = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    client.send(head + b"3\r\nabc\r\n4;name=value\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n" + post(b"next"))
    assert client.reply().body == b'{"predictions": [abcdefg]}'
    assert client.reply().body == b'{"predictions": [next]}'


def test_expect_100_continue(client: RawClient) -> None:
    client.send(post(b"abc", "Expect: 100-continue")[:-3])
    assert client.head() == (100, {})
    client.send(b"abc")
    assert client.reply().body == b'{"predictions": [abc]}'


def test_100_continue_waits_for_the_answers_before_it(rig: GatewayRig, client: RawClient) -> None:
    gate = rig.directory / "gate-expect"
    client.send(post(b"!wait %b" % str(gate).encode()) + post(b"abc", "Expect: 100-continue")[:-3])
    gate.touch()
    assert client.reply().interim == 0
    assert client.head()[0] == 100
    client.send(b"abc")
    assert client.reply().body == b'{"predictions": [abc]}'


def test_expect_is_not_met_where_the_answer_is_clear(client: RawClient) -> None:
    client.send(post(b"abc", "Expect: 100-continue", path="/nope")[:-3])
    reply = client.reply()
    assert (reply.status, reply.interim, reply.headers["connection"]) == (404, 0, "close")
    assert client.closed()


def test_other_expectations_fail(client: RawClient) -> None:
    assert client.ask(post(b"", "Expect: miracles")).status == 417
    assert client.closed()


def test_http_1_0(rig: GatewayRig) -> None:
    with rig.client() as client:
        reply = client.ask(post(b"1", version="1.0"))
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert client.closed()
    with rig.client() as client:
        for _ in range(2):
            reply = client.ask(post(b"1", "Connection: keep-alive", version="1.0"))
            assert (reply.status, reply.headers["connection"]) == (200, "keep-alive")
        assert client.ask(b"GET /ping HTTP/1.0\r\n\r\n").body == b"\n"
        assert client.closed()


def test_connection_close(client: RawClient) -> None:
    reply = client.ask(post(b"1", "Connection: close") + post(b"ignored"))
    assert reply.headers["connection"] == "close"
    assert client.closed()


@pytest.mark.parametrize("framing", ["Content-Length: 3", "Transfer-Encoding: chunked"])
def test_h2c_is_ignored_and_the_request_answered_with_its_body(client: RawClient, framing: str) -> None:
    head = post(b"", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP")
    head = head.replace(b"Content-Length: 0", framing.encode())
    body = b"abc" if framing.startswith("Content") else b"3\r\nabc\r\n0\r\n\r\n"
    client.send(head + body + post(b"next"))
    assert client.reply().body == b'{"predictions": [abc]}'
    assert client.reply().body == b'{"predictions": [next]}'
    for byte in head + body:
        client.send(bytes((byte,)))
    assert client.reply().body == b'{"predictions": [abc]}'
    assert client.ask(post(b"1")).status == 200


def test_absolute_targets_and_encoded_paths_and_queries(client: RawClient) -> None:
    for path in (
        "http://elsewhere:1/invocations",
        "/invocation%73",
        "/invocations?a=/ping",
        "/models/topic/invocations",
    ):
        assert client.ask(post(b"1", path=path)).status == 200, path


def test_trailing_slashes_are_redirected(client: RawClient) -> None:
    reply = client.ask(post(b"1", path="/invocations/?a=b"))
    assert (reply.status, reply.headers["location"], reply.body) == (307, "http://test/invocations?a=b", b"")
    assert "content-type" not in reply.headers


def test_what_is_not_there(client: RawClient) -> None:
    for path in (
        "/",
        "/nope",
        "//invocations",
        "/Invocations",
        "/metrics",
        "/models",
        "/models/topic",
        "/models/topic/x",
    ):
        reply = client.ask(post(b"{}", path=path))
        assert (reply.status, reply.body) == (404, b'{"detail":"Not Found"}'), path
    reply = client.ask(get("/models/other/ping"))
    assert reply.status == 404
    assert reply.json() == {
        "error_code": "NOT_FOUND",
        "message": "There is no model 'other' here; there are: 'topic'.",
    }


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_wrong_methods(client: RawClient, method: str) -> None:
    reply = client.ask(get("/invocations", method=method))
    assert (reply.status, reply.body, reply.headers["allow"]) == (405, b'{"detail":"Method Not Allowed"}', "POST")


def test_methods_that_nobody_knows(rig: GatewayRig) -> None:
    for path, status in (("/ping", 405), ("/nope", 404)):
        with rig.client() as client:
            assert client.ask(get(path, method="FOO")).status == status
            assert client.closed()


def test_the_shared_port(rig: GatewayRig) -> None:
    with rig.client(None) as client:
        assert client.ask(post(b"1", path="/models/topic/invocations")).headers["headrace-model"] == "topic/1"
        assert client.ask(get("/models/topic/version")).body == b"3.17.2"
        assert client.ask(get("/models")).body == b'[{"name":"topic","label":"topic/1","ready":true,"failing":false}]'
        assert client.ask(get("/ping")).body == b"\n"
        assert client.ask(post(b"1")).status == 404


@pytest.mark.parametrize(
    "malformed",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET /invocations/ HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET /ping HTTP/1.0\r\nHost: a:b\r\n\r\n",
        b"GET /ping HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET /ping\r\n\r\n",
        post(b"a", "Content-Length: 1"),
        post(b"a", "Transfer-Encoding: chunked"),
        post(b"a").replace(b"Content-Length: 1", b"Transfer-Encoding: gzip, chunked"),
        post(b"a", version="1.0").replace(b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        post(b"a").replace(b"Content-Length: 1", b"Content-Length: +1"),
        post(b"a").replace(b"Content-Length: 1", b"Content-Length: 1, 1"),
        get("/ping", "A: b\r\n c"),
        get("/ping", "A : b"),
        get("/ping", "A: b\x00"),
        get("/ping").replace(b"\r\n", b"\n"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_malformed_requests_get_400_after_the_answers_before_them(client: RawClient, malformed: bytes) -> None:
    client.send(post(b"first") + malformed)
    assert client.reply().body == b'{"predictions": [first]}'
    reply = client.reply()
    assert (reply.status, reply.headers["connection"]) == (400, "close")
    assert reply.json()["error_code"] == "BAD_REQUEST"
    assert client.closed()


@pytest.mark.parametrize("host", ["", "a", "A-1.b_c:80", "a:", "127.0.0.1:5001", "[::1]:5001", "%7Ea"])
def test_every_form_of_host_is_taken(client: RawClient, host: str) -> None:
    assert client.ask(b"GET /ping HTTP/1.1\r\nHost: %b\r\n\r\n" % host.encode()).status == 200


def test_a_request_cannot_be_smuggled_through_the_memory_of_heads(client: RawClient) -> None:
    plain = post(b"12345")
    for _ in range(3):
        assert client.ask(plain).status == 200
    head = plain[:-5]
    for trick in (head + b"12345" + b"\n\n" + plain, b"\r\n\r\n" + head + b"12345"):
        with RawClient(client.socket.getpeername()) as other:
            other.send(trick)
            assert other.reply().body == b'{"predictions": [12345]}'
    client.send(head + b"12")
    client.send(b"345" + plain)
    assert client.reply().body == client.reply().body == b'{"predictions": [12345]}'


def test_an_empty_body_reaches_the_model(client: RawClient) -> None:
    assert client.ask(b"POST /invocations HTTP/1.1\r\nHost: a\r\n\r\n").body == b'{"predictions": [""]}'


def test_a_client_that_has_only_finished_sending_gets_its_answer(rig: GatewayRig, client: RawClient) -> None:
    gate = rig.directory / "gate-half"
    client.send(post(b"!wait %b" % str(gate).encode()))
    client.socket.shutdown(socket.SHUT_WR)
    assert client.head()[0] == 100  # how the gateway finds out whether anybody is there
    gate.touch()
    assert client.reply().status == 200
    assert client.closed()


def test_invalid_deadlines_are_refused(client: RawClient) -> None:
    for bad in ("0", "-1", "1.5", "soon", "9" * 13):
        reply = client.ask(post(b"1", f"Request-Timeout-Ms: {bad}"))
        assert (reply.status, reply.json()["error_code"]) == (400, "BAD_REQUEST"), bad
    assert client.ask(post(b"1", "Request-Timeout-Ms: 60000")).status == 200


def test_limits() -> None:
    chunked = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    limits = messages.Limits(max_header_bytes=4096, max_body_bytes=1000, max_connections=3)
    with GatewayRig(limits=limits) as rig:
        rig.serve(rig.worker("w1"))
        for request, status, code in (
            (post(b"x" * 1001), 413, "BODY_TOO_LARGE"),
            (post(b"x" * 1001, "Expect: 100-continue")[:-1001], 413, "BODY_TOO_LARGE"),
            (chunked + b"400\r\n" + b"x" * 1001, 413, "BODY_TOO_LARGE"),
            (get("/ping", "A: " + "x" * 5000), 431, "HEADERS_TOO_LARGE"),
            (b"GET /" + b"x" * 9000, 431, "HEADERS_TOO_LARGE"),
            (b"GET /ping HTTP/1.1\r\nA: " + b"x" * 9000, 431, "HEADERS_TOO_LARGE"),
        ):
            with rig.client() as client:
                reply = client.ask(request)
                assert (reply.status, reply.json()["error_code"], reply.interim) == (status, code, 0)
                client.socket.shutdown(socket.SHUT_WR)
                assert client.closed()
        for _ in range(2):  # whatever is remembered of a head, a limit is kept the next time as well
            with rig.client() as client:
                assert client.ask(post(b"x" * 1001, "Accept: a/b")).status == 413
        with rig.client() as client:
            for _ in range(20):
                # In pieces, so that the limit must hold while the head is still incomplete.
                client.send(b"GET /ping HTTP/1.1\r\nA: " if _ == 0 else b"x" * 500)
            assert client.reply().status == 431
        with rig.client() as client:
            assert client.ask(post(b"x" * 1000)).status == 200
        wait_until(lambda: rig.stats()["headrace_connections_open"] == 0, "all clients are gone")
        with rig.client() as a, rig.client() as b, rig.client() as c, rig.client() as d:
            assert [x.ask(get("/ping")).status for x in (a, b, c)] == [200] * 3
            reply = d.reply()
            assert (reply.status, reply.json()["error_code"]) == (503, "OVERLOADED")
            assert int(reply.headers["retry-after"]) >= 1


def test_large_bodies_that_arrive_at_once_are_bounded_together() -> None:
    with GatewayRig(limits=messages.Limits(max_body_bytes=1_000_000, max_memory_bytes=5_100_000)) as rig:
        rig.serve(rig.worker("w1"))
        part = post(b"x" * 1_000_000)[:-10]
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(rig.client()) for _ in range(6)]
            for client in clients:
                client.send(part)
            wait_until(lambda: rig.stats()["headrace_refused_total"] == 2, "the last two are turned away")
            turned_away = 0
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(b"x" * 10)
                reply = client.reply()
                turned_away += reply.status == 503
                assert reply.status in {200, 503}
            assert turned_away == 2
        with rig.client() as client:
            assert client.ask(post(b"x" * 1_000_000)).status == 200


def test_slow_clients_are_shown_out() -> None:
    limits = messages.Limits(header_timeout_s=0.3, body_timeout_s=0.3, keep_alive_s=0.3)
    with GatewayRig(limits=limits) as rig:
        rig.serve(rig.worker("w1"))
        for part in (b"GET /ping HTTP/1.1\r\nHo", post(b"abc")[:-1]):
            with rig.client() as client:
                client.send(part)
                reply = client.reply()
                assert (reply.status, reply.json()["error_code"]) == (408, "REQUEST_TIMEOUT")
                client.socket.shutdown(socket.SHUT_WR)
                assert client.closed()
        with rig.client() as idle, rig.client() as used:
            assert used.ask(post(b"1")).status == 200
            assert idle.closed()
            assert used.closed()


def test_a_client_that_trickles_gains_no_time() -> None:
    with GatewayRig(limits=messages.Limits(body_timeout_s=0.5)) as rig:
        rig.serve(rig.worker("w1"))
        with rig.client() as client:
            client.send(post(b"x" * 10_000)[:-10_000])
            client.socket.settimeout(0.01)
            answer = b""

            def trickle() -> bool:
                nonlocal answer
                client.send(b"x")
                try:
                    answer += client.socket.recv(1000)
                except TimeoutError:
                    return False
                return True

            wait_until(trickle, "the gateway loses patience")
            assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_never_reads_is_closed() -> None:
    with GatewayRig(limits=messages.Limits(body_timeout_s=0.5)) as rig:
        rig.serve(rig.worker("w1"))
        with rig.client() as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            for _ in range(8):
                client.send(post(b"!big 4000000"))
            wait_until(lambda: rig.stats()["headrace_requests_total"], "there is something to read")
            wait_until(lambda: rig.stats()["headrace_connections_open"] == 0, "the client is shown out")
        with rig.client() as client:
            assert client.ask(post(b"1")).status == 200


def test_deep_pipelines_are_read_only_as_fast_as_they_are_answered() -> None:
    with GatewayRig(limits=messages.Limits(max_pipelined=4)) as rig:
        worker = rig.worker("w1")
        rig.serve(worker)
        gate = rig.directory / "gate"
        with rig.client() as client:
            client.send(post(b"!wait %b" % str(gate).encode()) + b"".join(post(b"%d" % i) for i in range(500)))
            wait_until(worker.bodies, "the first is being worked on")
            assert rig.stats()["headrace_queued_requests"] <= 3
            gate.touch()
            assert client.reply().status == 200
            assert [client.reply().body for _ in range(500)] == [b'{"predictions": [%d]}' % i for i in range(500)]
