"""Finds ports that are open to every client although the configuration does not say so."""

from __future__ import annotations

from headrace.config.tree import Config
from headrace.core.security.addresses import is_loopback


def anonymous_ports(config: Config) -> list[str]:
    """A sentence for each port that is not on loopback and needs no credentials."""
    if config.auth is not None:
        return []  # it says what who shows nothing may do
    own = {name: model for name, model in config.models.items() if model.port is not None}
    hosts = {f"models.{name}.port": model.host or config.gateway.host for name, model in own.items()}
    if config.gateway.port is not None:
        hosts["gateway.port"] = config.gateway.host
    if config.gateway.grpc_port is not None:
        hosts["gateway.grpc_port"] = config.gateway.host
    if _demands_certificates(config, admin=False):
        hosts.clear()
    if config.admin is not None and not _demands_certificates(config, admin=True):
        hosts["admin.port"] = config.admin.host
    return [
        f"{path}: whoever reaches {host} may use it: set auth (auth.anonymous where that is meant), or another host"
        for path, host in hosts.items()
        if not is_loopback(host)
    ]


def _demands_certificates(config: Config, *, admin: bool) -> bool:
    tls = config.admin_tls if admin else config.tls
    return tls is not None and tls.client_ca is not None and tls.client_certificate == "required"
