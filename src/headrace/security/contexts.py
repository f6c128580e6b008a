"""What a server's handshakes go by: one object for a port's whole life, whose certificate can be changed at any time.

asyncio is given a context once, when it begins to listen, and asks it for something to shake hands with whenever a
client connects. `ServerContext` is such a context; what it answers is made by the newest certificate's own context. So
a change meets who connects from then on, takes nothing back from who is connected, and leaves nothing of the old
behind: authorities that are not trusted any more, for one, could not be taken out of a context that has them.
"""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from headrace.core.errors import UsageError
from headrace.core.protocol.messages import Certificate
from headrace.core.telemetry.totals import Sample

# Of TLS 1.2 what has forward secrecy and authenticates what it encrypts; of TLS 1.3 everything is like that.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_HTTP = ("http/1.1",)
GRPC = ("h2",)


class TooManyHandshakes(ConnectionError):
    """A client is cut off before its handshake."""


class ServerContext(ssl.SSLContext):
    """See the module's docstring. `show` must be called before anybody connects. `protocols` are those of ALPN.

    `ended` counts handshakes by how they ended: ok, failed, refused (there were `max_handshakes` under way).
    """

    ended: dict[str, int]
    handshake_timeout_s: float
    _newest: ssl.SSLContext
    _protocols: tuple[str, ...]
    _under_way: weakref.WeakSet[ssl.SSLObject]
    _most: int

    def __new__(cls, protocols: tuple[str, ...] = _HTTP) -> Self:  # noqa: D102 - see the class's docstring
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made._protocols = protocols
        made.ended = {"ok": 0, "failed": 0, "refused": 0}
        made._under_way = weakref.WeakSet()
        made._most = 0
        return made

    def show(self, certificate: Certificate) -> None:
        """Show this one to everybody who connects from now on. Raises ssl.SSLError for what is no certificate."""
        made = server_context(certificate, self._protocols)
        owner = self

        class Handshake(ssl.SSLObject):
            """One client's; asyncio calls `do_handshake` again and again until it ends."""

            def do_handshake(self) -> None:
                try:
                    super().do_handshake()
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    raise
                except ssl.SSLError:
                    owner._ended(self, "failed")
                    raise
                owner._ended(self, "ok")

        made.sslobject_class = Handshake
        self._most = certificate.max_handshakes
        self.handshake_timeout_s = certificate.handshake_timeout_s
        self._newest = made

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """Called by asyncio for each client. Raises TooManyHandshakes, which ends its connection."""
        if len(self._under_way) >= self._most:
            self.ended["refused"] += 1
            raise TooManyHandshakes(f"{self._most} handshakes are under way")
        made = self._newest.wrap_bio(*arguments, **named)
        self._under_way.add(made)
        return made

    def samples(self) -> Iterator[Sample]:
        """How many handshakes ended in which way."""
        for result, count in self.ended.items():
            yield "headrace_tls_handshakes_total", (("result", result),), count

    def _ended(self, handshake: ssl.SSLObject, result: str) -> None:
        if handshake in self._under_way:
            self._under_way.discard(handshake)
            self.ended[result] += 1


def server_context(certificate: Certificate, protocols: tuple[str, ...] = _HTTP) -> ssl.SSLContext:
    """A context for servers. Raises ssl.SSLError for what is no certificate with its key."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(_CIPHERS)
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_alpn_protocols(protocols)
    with _readable(certificate.pem) as path:
        # Without a password of ours OpenSSL would ask for one on the terminal.
        made.load_cert_chain(path, password=_no_passphrase)
    if certificate.client_ca is not None:
        made.load_verify_locations(cadata=certificate.client_ca)
        made.verify_mode = ssl.CERT_OPTIONAL if certificate.optional else ssl.CERT_REQUIRED
        # A session that is taken up again is not verified anew: a certificate would hold longer than it says.
        made.options |= ssl.OP_NO_TICKET
        made.num_tickets = 0
    return made


def _no_passphrase() -> str:
    raise UsageError("the private key has a passphrase; give one without, readable by this user alone")


@contextmanager
def _readable(pem: bytes) -> Iterator[str]:
    """A path to read `pem` from: Python's ssl takes keys from files only. On Linux it is on no disk."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, pem)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:  # readable by this user alone
            file.write(pem)
            file.flush()
            yield file.name
