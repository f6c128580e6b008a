"""The reader of requests by itself: what it counts, keeps and refuses."""

from __future__ import annotations

import tracemalloc

import pytest

from headrace.core.protocol.messages import Limits
from headrace.gateway.http.heads import RequestHead
from headrace.gateway.http.parsing import RequestReader

HEAD = b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"POST /invocations HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
LIMITS = Limits(max_header_bytes=4096)
KIB = 1024


class Heard:
    """What a reader said. `takes`: whether bodies are to be kept."""

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.bodies: list[bytes | None] = []
        self.refused: tuple[str, str] | None = None

    def on_head(self, head: RequestHead) -> bool:
        return head.keep_alive

    def takes_body(self, head: RequestHead) -> bool:
        return self.takes and not head.problem

    def on_request(self, head: RequestHead, body: bytes | None) -> None:
        assert not head.problem
        self.bodies.append(body)

    def on_refused(self, code: str, message: str, protocol: str = "") -> None:
        assert self.refused is None
        assert not protocol
        self.refused = code, message


def read(*pieces: bytes, limits: Limits = LIMITS, takes: bool = True) -> Heard:
    heard = Heard(takes=takes)
    reader = RequestReader(heard, limits, "topic")
    for piece in pieces:
        reader.feed(piece)
    return heard


def test_trailers_up_to_the_limit_are_read_and_ignored() -> None:
    heard = read(HEAD, b"3\r\nabc\r\n0\r\nA: " + b"x" * 2000, b"\r\nB: " + b"y" * 1900 + b"\r\n\r\n")
    assert heard.bodies == [b"abc"]
    assert heard.refused is None


ENDLESS = {
    "one trailer": (b"3\r\nabc\r\n0\r\nA: ", b"x" * 512),
    "many trailers": (b"3\r\nabc\r\n0\r\n", b"A: b\r\n" * 100),
    "names of trailers": (b"3\r\nabc\r\n0\r\nA", b"x" * 512),
    "an extension": (b"3;a=", b"x" * 512),
    "extensions": (b"3", b";a=b" * 100),
    "zeros of a size": (b"0", b"0" * 512),
}


@pytest.mark.parametrize("kind", ENDLESS)
@pytest.mark.parametrize("payload", [0, 100 * KIB])
def test_framing_without_end_is_refused_within_the_limit(kind: str, payload: int) -> None:
    begin, more = ENDLESS[kind]
    heard = Heard()
    reader = RequestReader(heard, LIMITS, "topic")
    reader.feed(HEAD)
    if payload:
        reader.feed(b"%x\r\n%b\r\n" % (payload, b"p" * payload))
    reader.feed(begin)
    fed_bytes = 0
    while heard.refused is None and fed_bytes < 1_000_000:
        reader.feed(more)
        fed_bytes += len(more)
        assert reader.held_bytes <= payload + LIMITS.max_header_bytes + 2 * KIB
    assert heard.refused is not None
    assert heard.refused[0] in {"HEADERS_TOO_LARGE", "BAD_REQUEST"}
    assert fed_bytes <= LIMITS.max_header_bytes + 2 * len(more)
    assert reader.held_bytes == 0


def test_trailers_that_come_whole_in_one_read_are_counted_too() -> None:
    heard = read(HEAD + b"3\r\nabc\r\n0\r\n" + b"A: b\r\n" * 2000 + b"\r\n")
    assert heard.bodies == []
    assert heard.refused is not None
    assert heard.refused[0] == "HEADERS_TOO_LARGE"


def chunks(size: int) -> list[bytes]:
    chunk = b"%x\r\n%b\r\n" % (size, b"p" * size)
    return [chunk * 100] * (100_000 // (100 * len(chunk)))


@pytest.mark.parametrize("size", [1, 2])
def test_chunks_that_are_all_framing_are_refused(size: int) -> None:
    heard = read(HEAD, *chunks(size), b"0\r\n\r\n")
    assert heard.bodies == []
    assert heard.refused is not None
    assert heard.refused[0] == "BAD_REQUEST"
    assert "larger" in heard.refused[1]


@pytest.mark.parametrize("size", [16, 1000])
def test_chunks_that_hold_something_are_taken(size: int) -> None:
    heard = read(HEAD, *chunks(size), b"0\r\n\r\n")
    assert heard.refused is None
    assert len(heard.bodies) == 1


def test_a_small_body_may_come_in_chunks_of_any_size() -> None:
    assert read(HEAD, *[b"1\r\nx\r\n"] * 600, b"0\r\n\r\n").bodies == [b"x" * 600]


def test_a_body_in_small_pieces_holds_little_more_than_itself() -> None:
    heard = Heard()
    reader = RequestReader(heard, Limits(), "topic")
    size = 2 << 20
    pieces = [b"10\r\n0123456789abcdef\r\n" * 64] * (size // (16 * 64))
    reader.feed(HEAD)
    tracemalloc.start()
    for piece in pieces:
        reader.feed(piece)
    reader.feed(b"0\r\n\r\n")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [len(body or b"") for body in heard.bodies] == [size]
    assert peak <= 1.5 * size


def test_a_body_that_is_not_used_is_not_kept() -> None:
    heard = Heard(takes=False)
    reader = RequestReader(heard, Limits(), "topic")
    reader.feed(b"POST /nope HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n")
    for _ in range(1023):
        reader.feed(b"x" * KIB)
    assert reader.held_bytes < KIB
    reader.feed(b"x" * KIB + b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
    assert heard.bodies == [None, b""]


def test_a_body_that_is_not_used_may_be_no_larger_than_another() -> None:
    heard = read(HEAD, b"3e9\r\n" + b"x" * 1001, limits=Limits(max_body_bytes=1000), takes=False)
    assert heard.refused is not None
    assert heard.refused[0] == "BODY_TOO_LARGE"


def test_nothing_of_a_request_stays_when_it_is_answered() -> None:
    heard = Heard()
    reader = RequestReader(heard, Limits(), "topic")
    reader.feed(b"POST /" + b"x" * 2000 + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab")
    assert reader.held_bytes >= 2000
    reader.feed(b"c")
    assert reader.held_bytes == 0


@pytest.mark.parametrize("framing", [b"Content-Length: 3\r\n\r\nabc", b"\r\n"], ids=["body", "bare"])
def test_any_number_of_upgrades_in_one_read_is_answered(framing: bytes) -> None:
    """Each was read by a call inside the one before: a thousand of them were too deep."""
    heard = read((UPGRADE + framing) * 2000)
    assert heard.refused is None
    assert len(heard.bodies) == 2000


def test_a_head_that_follows_others_in_one_read_is_not_charged_for_them() -> None:
    pings = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
    heard = read(pings[:10], pings[10:] + pings * 500 + b"GET /pi", b"ng HTTP/1.1\r\nHost: a\r\n\r\n")
    assert heard.refused is None
    assert len(heard.bodies) == 502
