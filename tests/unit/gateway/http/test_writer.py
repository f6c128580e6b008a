"""What answers have in common, and what ends a connection."""

from __future__ import annotations

from time import gmtime

from headrace.gateway.http.heads import RequestHead
from headrace.gateway.http.targets import Target, Want
from headrace.gateway.http.writer import ResponseWriter


def request(*, http10: bool = False, keep_alive: bool = True, reusable: bool = True) -> RequestHead:
    head = RequestHead()
    head.target = Target(Want.INVOKE, "m")
    head.http10, head.keep_alive, head.reusable = http10, keep_alive, reusable
    return head


def writer() -> ResponseWriter:
    made = ResponseWriter()
    made.set_date(gmtime(0))
    return made


def answer(made: ResponseWriter, head: RequestHead, cached: bytes = b"") -> bytes:
    return made.answer(head, b"r1", b"m/1", 200, b"application/json", cached, b"{}")


def test_an_answer_says_when_and_of_which_version_it_is() -> None:
    assert answer(writer(), request()) == (
        b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-type: application/json\r\n"
        b"headrace-model: m/1\r\ncontent-length: 2\r\nx-request-id: r1\r\n\r\n{}"
    )


def test_the_cache_is_named_where_there_is_one() -> None:
    made = writer()
    assert b"headrace-cache: hit\r\n" in answer(made, request(), b"hit")
    assert b"headrace-cache" not in answer(made, request())


def test_a_new_date_is_in_the_next_answer() -> None:
    made = writer()
    answer(made, request())
    made.set_date(gmtime(1))
    assert b"date: Thu, 01 Jan 1970 00:00:01 GMT\r\n" in answer(made, request())


def test_the_connection_ends_where_the_client_or_the_gateway_wants_that() -> None:
    made = writer()
    assert b"connection: close\r\n" in answer(made, request(keep_alive=False, reusable=False))
    assert b"connection: keep-alive\r\n" in answer(made, request(http10=True, reusable=False))
    assert b"connection:" not in answer(made, request())
    made.begin_drain()
    assert made.draining
    for head in (request(), request(http10=True, reusable=False)):
        assert b"connection: close\r\n" in answer(made, head)
        assert b"connection: close\r\n" in made.own(head, b"r1", 404, None, b"")


def test_a_stream_comes_in_chunks_or_until_the_end_of_the_connection() -> None:
    made = writer()
    head = made.stream_head(request(), b"r1", b"m/1", 200, b"text/event-stream")
    assert b"transfer-encoding: chunked\r\n" in head
    assert b"connection:" not in head
    old = made.stream_head(request(http10=True), b"r1", b"m/1", 200, b"text/event-stream")
    assert b"transfer-encoding" not in old
    assert b"connection: close\r\n" in old


def test_errors_of_strict_models_carry_the_id_of_the_request() -> None:
    made = writer()
    assert b"r1" not in made.error_body(request(), b"r1", "INTERNAL_ERROR", "no")
    made.strict_models = {"m"}
    assert b'"request_id":"r1"' in made.error_body(request(), b"r1", "INTERNAL_ERROR", "no")


def test_each_request_without_an_id_gets_another() -> None:
    made = writer()
    assert len({made.new_request_id() for _ in range(100)}) == 100
