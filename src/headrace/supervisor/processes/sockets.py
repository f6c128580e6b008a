"""Binds the listening sockets: before anything is started, so that a busy port costs nothing but a clear line."""

from __future__ import annotations

import errno
import socket

from headrace.core.errors import ConfigError

BACKLOG = 2048


def listen(host: str, port: int, path: str, *, copies: int = 1) -> list[socket.socket]:
    """`copies` listening sockets on one address (one for each gateway), still held by us when a gateway dies.

    Port 0 asks the kernel for a free one. `path` names the setting in errors. Raises ConfigError.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
    except OSError as error:
        raise ConfigError(path, f"the host {host!r} is not an address of this machine: {error.strerror}") from None
    made: list[socket.socket] = []
    try:
        # A port shared by SO_REUSEPORT would let a second headrace in as well: only the first bind may decide.
        _bind(family, kind, address, shared=False).close()
        for _ in range(copies):
            made.append(_bind(family, kind, address, shared=copies > 1))
            made[-1].listen(BACKLOG)
            address = made[-1].getsockname()
    except OSError as error:
        for one in made:
            one.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                path, f"port {port} on {host} is in use; stop the process that has it, or choose another port"
            ) from None
        if error.errno == errno.EACCES:
            raise ConfigError(path, f"port {port} needs privileges; choose one above 1023") from None
        raise ConfigError(path, f"cannot listen on {host}:{port}: {error.strerror}") from None
    return made


def listen_again(first: socket.socket, path: str, *, copies: int) -> list[socket.socket]:
    """`copies` more sockets on the address of one that listens, for more gateways; none where that is 0 or less.

    They do not listen: the kernel gives a share of the clients to each socket that does, and a gateway that may never
    come up must not be given any. A gateway listens by itself. Raises ConfigError, as `listen`.
    """
    made: list[socket.socket] = []
    try:
        for _ in range(copies):
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.append(_bind(first.family, first.type, first.getsockname(), shared=True))
    except OSError as error:
        for one in made:
            one.close()
        raise ConfigError(path, f"cannot listen for another gateway: {error.strerror}") from None
    return made


def _bind(family: int, kind: int, address: tuple[object, ...], *, shared: bool) -> socket.socket:
    one = socket.socket(family, kind)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.setblocking(False)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one
