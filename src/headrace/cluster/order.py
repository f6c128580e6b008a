"""What a cluster is to serve, as it is kept and as nodes are told."""

from __future__ import annotations

import msgspec


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The text of a configuration file, the `folder` where its relative paths start, and its number."""

    generation: int
    text: str
    folder: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What outlives the controller: the newest order (None: nothing was ordered) and the addresses of drained nodes.

    `ends`: every node is to finish what it has, and nothing follows.
    """

    order: Order | None = None
    drained: tuple[str, ...] = ()
    ends: bool = False

    def of(self, address: str) -> Order | None:
        """What the node with this address is to serve; None: nothing."""
        return None if self.ends or address in self.drained else self.order
