"""What the command line says stands above the file: it changes the configuration, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from headrace.config import environment
from headrace.config.load import check
from headrace.config.tree import Admin, Config, Model
from headrace.core.errors import UsageError
from headrace.core.security.addresses import is_loopback


def for_all(config: Config, change: Callable[[Model], dict[str, Any]]) -> Config:
    """The configuration with changed settings of every model."""
    models = {name: msgspec.structs.replace(model, **change(model)) for name, model in config.models.items()}
    wildcard = config.wildcard
    if wildcard is not None:
        wildcard = msgspec.structs.replace(wildcard, **change(wildcard))
    return msgspec.structs.replace(config, models=models, wildcard=wildcard)


def with_grpc(config: Config, port: int) -> Config:
    """The configuration with another port for gRPC; raises ConfigErrors for one that cannot be."""
    changed = msgspec.structs.replace(config, gateway=msgspec.structs.replace(config.gateway, grpc_port=port))
    check(changed)
    return changed


def with_admin(config: Config, port: int) -> Config:
    """The configuration with another admin port."""
    return msgspec.structs.replace(config, admin=msgspec.structs.replace(config.admin or Admin(), port=port))


def for_node(config: Config, file: Path, address: str) -> Config:
    """What the node with this address of a cluster has of the cluster's configuration; `file` is where it is.

    Its ports are on that address, and so is the admin port where that is a loopback one: such nodes share a machine.
    Its home is its own, for nodes may share a disk.
    """
    admin, home = config.admin, environment.home(config.home) / "nodes" / address
    if admin is not None and is_loopback(address):
        admin = msgspec.structs.replace(admin, host=address)
    config = msgspec.structs.replace(config, cluster=None, admin=admin, home=home)
    return overridden(config, file, host=address)


def overridden(
    config: Config,
    file: Path,
    *,
    port: int | None = None,
    host: str | None = None,
    timeout_s: float | None = None,
    workers: int | None = None,
    admin_port: int | None = None,
) -> Config:
    """The configuration of `file` with what the command line gave beside it; None: it did not.

    `timeout_s` and `workers` hold for every model, `host` for every port but the admin port. Raises UsageError for a
    `port` where there are several models, and ConfigErrors for one that is taken.
    """
    if port is not None:
        if len(config.models) != 1 or config.wildcard is not None:
            raise UsageError(
                f"--port cannot stand beside --config with several models: in {file} give each a 'port', or all the "
                "shared one by 'gateway: {port: 5000}'; with \"${PORT:-5000}\" there a variable decides"
            )
        config = for_all(config, lambda _: {"port": port})
    if host is not None:
        config = msgspec.structs.replace(config, gateway=msgspec.structs.replace(config.gateway, host=host))
        config = for_all(config, lambda _: {"host": None})
    if timeout_s is not None:
        config = for_all(config, lambda _: {"timeout_s": timeout_s})
    if workers is not None:
        config = for_all(config, lambda _: {"replicas": workers})
    if admin_port is not None:
        config = with_admin(config, admin_port)
    check(config)
    return config
