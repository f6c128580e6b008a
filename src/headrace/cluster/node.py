"""The actor of one node."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from headrace import __version__
from headrace.cluster.member import Member
from headrace.cluster.order import Order
from headrace.config import environment


class Node:
    """Runs on a node, and has its headrace go by what the controller tells: always all that holds."""

    def __init__(self, address: str) -> None:
        environ = variables_of(os.getppid())
        self._member = Member(address, environment.home(None, environ) / "nodes" / address, environ)

    def be(self, order: bytes | None) -> dict[str, Any]:
        """Serve this order (JSON; None: serve nothing) from now on; returns how the node is, as data."""
        member = self._member
        member.serve(None if order is None else msgspec.json.decode(order, type=Order))
        return {
            "state": member.state,
            "told": member.told,
            "generation": member.generation,
            "pid": member.pid,
            "headrace": __version__,
            "python": platform.python_version(),
        }


def variables_of(pid: int) -> Mapping[str, str]:
    """The variables that a process was started with; ours where it does not show them.

    Those of the node's Ray are what its operator gave the node; in ours Ray has set others, such as OMP_NUM_THREADS=1.
    """
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        data = b""
    pairs = (os.fsdecode(one).partition("=") for one in data.split(b"\0") if b"=" in one)
    return {name: value for name, _, value in pairs} or dict(os.environ)
