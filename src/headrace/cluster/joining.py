"""Joins a Ray cluster, or says in one line why it cannot be joined."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from headrace.core.errors import UsageError
from headrace.core.security.addresses import is_loopback

NAMESPACE = "headrace"
_CONNECT_S = 5.0
_AUTO = "auto"


@contextlib.contextmanager
def joined(address: str) -> Iterator[Any]:
    """The module `ray`, connected to the cluster at `address` (`auto`: see `Cluster`), until the block ends.

    Raises UsageError where Ray is not installed, does not answer there, or is another version.
    """
    ray = load()
    address = os.environ.get("RAY_ADDRESS") or address if address == _AUTO else address
    options = {}
    if address != _AUTO:
        host = _look_for(address)
        if is_loopback(host):  # nodes that share this machine: Ray would look for one with its outer address
            options["_node_ip_address"] = host
    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR", **options)
    except ConnectionError as error:
        where = "on this machine" if address == _AUTO else f"at {address}"
        raise UsageError(
            f"cluster.address: no Ray was found {where}: start it with 'ray start --head', or name the HOST:PORT of "
            f"the one that runs ({_in_a_line(error)})"
        ) from None
    except RuntimeError as error:  # Ray's way of saying that versions differ
        raise UsageError(
            f"cluster.address: the Ray at {address} cannot be joined: {_in_a_line(error)}. Every node and this "
            "command need the same Ray and the same Python"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def load() -> Any:
    """The module `ray`. Raises UsageError where it is not installed."""
    try:
        import ray  # noqa: PLC0415 - only who serves on a cluster needs it
    except ImportError:
        raise UsageError("cluster: needs the package 'ray': install headrace's extra 'ray'") from None
    return ray


def _look_for(address: str) -> str:
    """See that somebody listens there, for Ray itself would try for minutes; returns the host."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "://" in address:
        raise UsageError(f"cluster.address: {address}: give HOST:PORT, such as 10.0.0.1:6379, or auto")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S):
            return host.strip("[]")
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"cluster.address: no Ray answers at {address} ({error}): start it there with 'ray start --head', or name "
            "the address that it printed"
        ) from None


def problem(error: BaseException) -> str:
    """What Ray says of an actor that could not be made or asked, in a line that says what to do."""
    text = str(error)
    if "No module named 'headrace" in text:
        return "headrace is not installed in this node's Python: install headrace[ray] there, the same version"
    return _in_a_line(error)


def _in_a_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:400].rstrip(".") or type(error).__name__
