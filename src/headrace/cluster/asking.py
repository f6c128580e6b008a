"""What the command line asks of a cluster: to serve a file, how it is, to empty a node, to end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from headrace import __version__
from headrace.cluster.controller import NAME, Controller
from headrace.cluster.joining import NAMESPACE, joined, problem
from headrace.cluster.order import Order
from headrace.core.errors import HeadraceError, UsageError

_ANSWER_S = 30.0
_LOOK_S = 0.5
_SETTLED = frozenset({"serving", "failed", "drained"})

Status = dict[str, Any]


def serve(address: str, text: str, folder: str, check: Callable[[Order], None], tell: Callable[[Status], None]) -> None:
    """Have the cluster at `address` serve a file; returns when each node serves it, or has failed to.

    `check` is given the order that held, and raises what speaks against the change. `tell` hears of each node that is
    settled. Raises HeadraceError where a node has failed; the others serve. It has no time limit: models may load for
    long, and the cluster goes on without who waits.
    """
    with joined(address) as ray:
        controller = _controller(ray, make=True)
        version = _ask(ray, controller.version)
        if version != __version__:
            raise UsageError(
                f"the cluster runs headrace {version}, and this is {__version__}: install the same one everywhere; "
                "'headrace cluster down' ends the one that runs"
            )
        before = _ask(ray, controller.order)
        if before is not None:
            check(msgspec.json.decode(before, type=Order))
        generation = _ask(ray, controller.serve, text, folder)
        told: set[str] = set()
        while True:
            nodes = _ask(ray, controller.status)["nodes"]
            for node in nodes:
                if _is_settled(node, generation) and node["address"] not in told:
                    told.add(node["address"])
                    tell(node)
            if nodes and all(_is_settled(node, generation) for node in nodes):
                break
            time.sleep(_LOOK_S)
    failed = [node["address"] for node in nodes if node["state"] == "failed"]
    if failed:
        raise HeadraceError(f"{len(failed)} of {len(nodes)} nodes do not serve: {', '.join(failed)}; see above")


def status(address: str) -> Status:
    """How the cluster is, as data. Raises UsageError where none serves."""
    with joined(address) as ray:
        found: Status = _ask(ray, _controller(ray).status)
        return found


def drain(address: str, node: str, *, out: bool) -> None:
    """Have a node finish what it has and serve nothing, or (`out` False) serve again; returns when it does.

    Raises UsageError where there is no such node.
    """
    with joined(address) as ray:
        controller = _controller(ray)
        if not _ask(ray, controller.drain, node, out):
            nodes = ", ".join(one["address"] for one in _ask(ray, controller.status)["nodes"])
            raise UsageError(f"no node has the address {node}; there are: {nodes or 'none'}")
        wanted = {"drained"} if out else {"serving", "failed"}
        while True:
            states = {one["address"]: one["state"] for one in _ask(ray, controller.status)["nodes"]}
            if states.get(node, "drained") in wanted or node not in states:
                return
            time.sleep(_LOOK_S)


def down(address: str) -> int:
    """Have every node finish what it has, and end all that headrace has in the cluster; returns how many nodes."""
    with joined(address) as ray:
        controller = _controller(ray)
        _ask(ray, controller.end)
        while True:
            nodes = _ask(ray, controller.status)["nodes"]
            if all(one["state"] in {"idle", "drained", "failed"} and one["pid"] is None for one in nodes):
                break
            time.sleep(_LOOK_S)
        _ask(ray, controller.forget)
        ray.kill(controller)
        return len(nodes)


def _is_settled(node: Status, generation: int) -> bool:
    serves = node["state"] != "serving" or node["generation"] == generation
    return node["state"] in _SETTLED and serves


def _controller(ray: Any, *, make: bool = False) -> Any:
    if not make:
        try:
            return ray.get_actor(NAME, namespace=NAMESPACE)
        except ValueError:
            raise UsageError(
                "no headrace serves on this cluster: start it with 'headrace serve --config FILE', with 'cluster:' in "
                "the file"
            ) from None
    return (
        ray.remote(Controller)
        .options(
            name=NAME,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
            max_concurrency=8,
            resources={"node:__internal_head__": 0.001},
        )
        .remote()
    )


def _ask(ray: Any, method: Any, *arguments: Any) -> Any:
    try:
        return ray.get(method.remote(*arguments), timeout=_ANSWER_S)
    except ray.exceptions.GetTimeoutError:
        raise HeadraceError(
            f"the cluster's controller has not answered for {_ANSWER_S:g} s: see whether Ray's head runs ('ray status')"
        ) from None
    except ray.exceptions.RayError as error:
        raise HeadraceError(f"the cluster's controller cannot be asked: {problem(error)}") from None
