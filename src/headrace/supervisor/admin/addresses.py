"""Where a model is reached, as URLs that can be pasted: with the ports that were bound, also where 0 was configured."""

from __future__ import annotations

from typing import Protocol

from headrace.config.tree import Config

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced


class Addresses(Protocol):
    """The owner of the bound ports."""

    @property
    def config(self) -> Config:
        """The configuration, which says whether there is TLS."""

    def address(self, name: str | None) -> tuple[str, int] | None:
        """Where a model (None: the shared port) is served; None if it has no port of its own."""


def reachable(address: tuple[str, int]) -> tuple[str, int]:
    """An address to connect to from this machine: a wildcard host becomes the loopback one."""
    return _LOOPBACK.get(address[0], address[0]), address[1]


def authority(address: tuple[str, int]) -> str:
    """An address as URLs and the Host header have it: IPv6 in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def url(address: tuple[str, int] | None, *, tls: bool = False) -> str | None:
    """An address as a URL: a wildcard host becomes the loopback one."""
    return f"{'https' if tls else 'http'}://{authority(reachable(address))}" if address is not None else None


def model_url(server: Addresses, name: str) -> str | None:
    """A model's own port, or its place on the shared one; None where it has neither."""
    tls = server.config.tls is not None
    shared = url(server.address(None), tls=tls)
    return url(server.address(name), tls=tls) or (f"{shared}/models/{name}" if shared else None)
