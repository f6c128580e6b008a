"""Several Ray nodes on one machine, each with a loopback address of its own: for trying out, and for tests.

    python -m news.nodes NUMBER

prints Ray's address, and ends the nodes at the end of its input. Lines of the input: `lose ADDRESS` kills a node at
once, `add ADDRESS` starts one; each is answered with `done`.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

# Loss is noticed within 2 s; Ray's default is 15 s.
_HEALTH = {
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


def start(number: int) -> tuple[Any, dict[str, Any]]:
    """A cluster of so many nodes, and they by their addresses, from 127.0.0.2 on; that is the head.

    Ray takes 127.0.0.1 for another name of the machine.
    """
    for name, value in {**_HEALTH, "RAY_USAGE_STATS_ENABLED": "0"}.items():
        os.environ.setdefault(name, value)
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - the variables first

    cluster = Cluster()
    return cluster, {address: add(cluster, address) for address in (f"127.0.0.{2 + n}" for n in range(number))}


def add(cluster: Any, address: str) -> Any:
    """Start a node with this address."""
    return cluster.add_node(
        node_ip_address=address, num_cpus=4, object_store_memory=80 * 1024 * 1024, include_dashboard=False
    )


def main() -> None:
    """See above."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cluster, nodes = start(int(sys.argv[1]))
    try:
        print(cluster.address, flush=True)
        for line in sys.stdin:
            what, _, address = line.strip().partition(" ")
            if what == "lose":
                cluster.remove_node(nodes.pop(address), allow_graceful=False)
            elif what == "add":
                nodes[address] = add(cluster, address)
            print("done", flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
