"""`cluster:` of the configuration: serve on several machines."""

from __future__ import annotations

from typing import Literal

from headrace.config.section import NonEmpty, Section


class Cluster(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`cluster:` serve on each node of a Ray cluster. Needs the extra `ray`.

    `engine` is what knows the nodes. `address` is Ray's, HOST:PORT; `auto`: what RAY_ADDRESS says, or the Ray that runs
    on this machine. `gateways`: each node listens on its own address (`gateway.host` and a model's `host` do not hold),
    and has replicas of every model.
    """

    engine: Literal["ray"] = "ray"
    address: NonEmpty = "auto"
    gateways: Literal["every-node"] = "every-node"
