"""The listening sockets of a configuration: bound before anything is started, and kept while they are wanted.

They are the supervisor's: gateways inherit them, and may die or be replaced without a client noticing.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from headrace.config.tree import Config
from headrace.core.errors import ConfigError
from headrace.core.protocol.messages import Listener
from headrace.core.security.addresses import is_loopback
from headrace.supervisor.processes.sockets import listen, listen_again

ADMIN = "admin.port"
_SHARED = "gateway.port"
_GRPC = "gateway.grpc_port"


@dataclass(frozen=True)
class _Bound:
    """One address. `host` and `port` are as configured (0: any), `sockets` as many as there were ever gateways."""

    host: str
    port: int
    sockets: tuple[socket.socket, ...]

    def is_at(self, host: str, port: int) -> bool:
        """Whether it is what `host` and `port` ask for, by what was configured or by what was bound."""
        return self.host == host and port in {self.port, self.sockets[0].getsockname()[1]}


class Ports:
    """All addresses of one configuration, by the setting that asks for them."""

    def __init__(self, bound: dict[str, _Bound] | None = None) -> None:
        self._bound = bound or {}

    @classmethod
    def kept(cls, sockets: Mapping[str, socket.socket]) -> Ports:
        """Those that another supervisor had, by the names that `named` gave them."""
        found: dict[str, _Bound] = {}
        for name, one in sorted(sockets.items(), key=lambda item: json.loads(item[0])):
            path, host, port, _ = json.loads(name)
            found[path] = _Bound(host, port, (*(found[path].sockets if path in found else ()), one))
        return cls(found)

    def named(self) -> dict[str, socket.socket]:
        """Every socket, with a name that says where it belongs."""
        return {
            json.dumps([path, bound.host, bound.port, index]): one
            for path, bound in self._bound.items()
            for index, one in enumerate(bound.sockets)
        }

    def __repr__(self) -> str:
        return f"<Ports {[f'{path}={one.sockets[0].getsockname()[:2]}' for path, one in self._bound.items()]}>"

    def of(self, config: Config) -> Ports:
        """The ports that `config` asks for: those that are there already, and new ones for the rest.

        Raises ConfigError with the path of one that cannot be had, and then has opened none. What is not wanted any
        more is closed by `close_but`.
        """
        made: dict[str, _Bound] = {}
        try:
            for path, host, port in _wanted(config):
                made[path] = self._have(path, host, port, 1 if path == ADMIN else config.gateway.processes)
        except ConfigError:
            Ports(made).close_but(self)
            raise
        return Ports(made)

    def address(self, path: str) -> tuple[str, int] | None:
        """Where a setting's port is; None where there is none."""
        if path not in self._bound:
            return None
        host, port = self._bound[path].sockets[0].getsockname()[:2]
        return host, port

    def of_model(self, name: str | None) -> tuple[str, int] | None:
        """Where a model (None: the shared port) is served; None if it has no port of its own."""
        return self.address(_SHARED if name is None else f"models.{name}.port")

    @property
    def grpc(self) -> tuple[str, int] | None:
        """Where gRPC is spoken; None: nowhere."""
        return self.address(_GRPC)

    @property
    def admin(self) -> socket.socket | None:
        """The admin port's socket."""
        return self._bound[ADMIN].sockets[0] if ADMIN in self._bound else None

    @property
    def any_data(self) -> bool:
        """Whether clients can connect anywhere."""
        return bool(self._bound.keys() - {ADMIN})

    def listeners(self, index: int, gateways: int, *, tls: bool) -> tuple[Listener, ...]:
        """What one of so many gateways is given: each socket has one of them that takes what comes there."""
        return tuple(
            Listener(
                one.fileno(),
                None if path in {_SHARED, _GRPC} else path.removeprefix("models.").removesuffix(".port"),
                tls,
                is_loopback(one.getsockname()[0]),
                path == _GRPC,
            )
            for path, bound in self._bound.items()
            if path != ADMIN
            for one in bound.sockets[index::gateways]
        )

    def close_but(self, kept: Ports) -> None:
        """Close those that are not among `kept`."""
        staying = set(kept._sockets())
        for one in self._sockets():
            if one not in staying:
                one.close()

    def close_data(self) -> None:
        """Close all but the admin port."""
        for path in self._bound.keys() - {ADMIN}:
            for one in self._bound.pop(path).sockets:
                one.close()

    def close(self) -> None:
        """Close all."""
        self.close_but(Ports())

    def _sockets(self) -> Iterator[socket.socket]:
        for bound in self._bound.values():
            yield from bound.sockets

    def _have(self, path: str, host: str, port: int, copies: int) -> _Bound:
        """The address as it is there: as that of the same setting, else (a port with a number) as another's; or new."""
        own = self._bound.get(path)
        found = own if own is not None and own.is_at(host, port) else None
        if found is None and port:
            found = next((one for one in self._bound.values() if one.is_at(host, port)), None)
        if found is None:
            return _Bound(host, port, tuple(listen(host, port, path, copies=copies)))
        more = listen_again(found.sockets[0], path, copies=copies - len(found.sockets))
        return _Bound(host, port, (*found.sockets, *more))


def _wanted(config: Config) -> Iterator[tuple[str, str, int]]:
    """(setting, host, port) of each address."""
    for name, model in config.models.items():
        if model.port is not None:
            yield f"models.{name}.port", model.host or config.gateway.host, model.port
    if config.gateway.port is not None:
        yield _SHARED, config.gateway.host, config.gateway.port
    if config.gateway.grpc_port is not None:
        yield _GRPC, config.gateway.host, config.gateway.grpc_port
    if config.admin is not None:
        yield ADMIN, config.admin.host, config.admin.port
