"""A Redis that answers what Redis does not: every request is answered by a worker, and none waits for it."""

from __future__ import annotations

import contextlib
import re
import socketserver
import threading
from collections.abc import Iterator

import msgspec
import pytest

from headrace.core.protocol import messages
from headrace.core.serving.cache_entries import encode
from headrace_worker.wire import Answer
from tests.gateway_rig.client import post
from tests.gateway_rig.rig import GatewayRig

HOSTILE_TYPE = encode(Answer(200, b"text/html\r\nset-cookie: a=b", b"lie"))
LIES = {
    "a number": b":5\r\n",
    "nothing at all": b"*-1\r\n",
    "an empty list": b"*0\r\n",
    "a list of too many": b"*3\r\n$-1\r\n$-1\r\n$-1\r\n",
    "a list of numbers": b"*1\r\n:5\r\n",
    "a list in a list": b"*1\r\n*1\r\n$1\r\nx\r\n",
    "an error in a list": b"*1\r\n-ERR no\r\n",
    "an error": b"-ERR no\r\n",
    "no protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a length without end": b"$99999999999\r\nxxxx",
    "half a list": b"*1\r\n$100\r\nxx",
    "a header in a content type": b"*1\r\n$%d\r\n%b\r\n" % (len(HOSTILE_TYPE), HOSTILE_TYPE),
    "the end": b"",
}


class Liar(socketserver.ThreadingTCPServer):
    """Answers PING and SET as it should and MGET with `lie`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, lie: bytes) -> None:
        self.lie = lie
        self.asked = 0
        super().__init__(("127.0.0.1", 0), Said)


class Said(socketserver.StreamRequestHandler):
    server: Liar

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while count := self.rfile.readline():
                words = []
                for _ in range(int(re.sub(rb"\D", b"", count) or 0)):
                    size = int(self.rfile.readline()[1:])
                    words.append(self.rfile.read(size + 2)[:-2])
                if words and words[0].upper() == b"MGET":
                    self.server.asked += 1
                    self.wfile.write(self.server.lie)
                    if not self.server.lie:
                        return
                else:
                    self.wfile.write(b"+PONG\r\n" if words and words[0].upper() == b"PING" else b"+OK\r\n")


@pytest.fixture
def rig() -> Iterator[GatewayRig]:
    with GatewayRig() as rig:
        yield rig


@pytest.mark.parametrize("lie", LIES)
def test_no_request_waits_for_a_redis_that_lies(rig: GatewayRig, lie: str) -> None:
    with Liar(LIES[lie]) as liar:
        threading.Thread(target=liar.serve_forever, daemon=True).start()
        rig.worker("w1")
        pool = msgspec.structs.replace(rig.pool("1", *rig.workers), identity="same")
        cache = messages.CacheOptions(url=f"redis://127.0.0.1:{liar.server_address[1]}", ttl_s=60.0)
        rig.table([messages.Route(model="topic", pool="1", cache=cache)], [pool])
        with rig.client() as client:
            number = 0
            while liar.asked < 3 and number < 2000:
                number += 1
                reply = client.ask(post(b'"%d"' % number))
                assert reply.status == 200
                assert "set-cookie" not in reply.headers
            assert liar.asked, "it was asked"
        liar.shutdown()
