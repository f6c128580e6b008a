"""The actor that knows what the cluster is to serve, and has each node know it: one in a cluster, on the head.

What is wanted is kept in Ray's own store, so that a controller that is started again goes on with it. Nodes serve on
without one: it is needed for changes, and for nodes that come.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from typing import Any

import msgspec

from headrace import __version__
from headrace.cluster.joining import NAMESPACE, load, problem
from headrace.cluster.node import Node
from headrace.cluster.order import Order, Wanted

NAME = "controller"
_KEY = b"headrace/wanted"
_LOOK_S = 1.0
_ANSWER_S = 60.0
"""How long a node's actor may take: it may have to be started again."""
_AGAIN_S = 15.0
"""How long after a node's actor could not be made it is tried again."""


class Controller:
    """Asked by `headrace serve` and `headrace cluster`; `address` names a node in all that it takes and tells."""

    def __init__(self) -> None:
        self._ray = load()
        from ray.experimental import internal_kv  # noqa: PLC0415 - as `load`

        self._store = internal_kv
        kept = internal_kv._internal_kv_get(_KEY)  # noqa: SLF001 - Ray's name for it; the version is pinned
        self._wanted = msgspec.json.decode(kept, type=Wanted) if kept else Wanted()
        self._seen: dict[str, dict[str, Any]] = {}
        self._actors: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}
        self._asked_s: dict[str, float] = {}
        self._not_before_s: dict[str, float] = {}
        self._lock = threading.Lock()
        self._log = logging.getLogger(__name__)
        threading.Thread(target=self._follow, daemon=True, name="follow").start()

    def version(self) -> str:
        """The version of headrace that it runs."""
        return __version__

    def order(self) -> bytes | None:
        """The order that holds, as JSON."""
        order = self._wanted.order
        return None if order is None or self._wanted.ends else msgspec.json.encode(order)

    def serve(self, text: str, folder: str) -> int:
        """Have every node serve this file; returns the number of the order."""
        with self._lock:
            before = self._wanted.order
            if before is not None and not self._wanted.ends and (before.text, before.folder) == (text, folder):
                return before.generation
            order = Order(generation=1 if before is None else before.generation + 1, text=text, folder=folder)
            self._keep(Wanted(order=order, drained=self._wanted.drained))
            return order.generation

    def drain(self, address: str, out: bool) -> bool:  # noqa: FBT001 - Ray's calls are by position
        """Have a node finish what it has and serve nothing (`out`), or serve again; False: there is no such node."""
        with self._lock:
            drained = set(self._wanted.drained)
            if address not in {one["address"] for one in self._seen.values()} | drained:
                return False
            changed = drained | {address} if out else drained - {address}
            self._keep(msgspec.structs.replace(self._wanted, drained=tuple(sorted(changed))))
            return True

    def end(self) -> None:
        """Have every node finish what it has; `status` says when all are idle."""
        with self._lock:
            self._keep(msgspec.structs.replace(self._wanted, ends=True))

    def forget(self) -> None:
        """End the nodes' actors, and keep nothing."""
        with self._lock:
            self._keep(Wanted(ends=True))
            for actor in self._actors.values():
                with contextlib.suppress(Exception):
                    self._ray.kill(actor)
            self._actors.clear()
            self._store._internal_kv_del(_KEY)  # noqa: SLF001 - as above

    def status(self) -> dict[str, Any]:
        """What is wanted, and how each node is, as data."""
        with self._lock:
            order = self._wanted.order
            return {
                "generation": None if order is None else order.generation,
                "ends": self._wanted.ends,
                "headrace": __version__,
                "pid": os.getpid(),
                "nodes": sorted(self._seen.values(), key=lambda one: str(one["address"])),
            }

    def _keep(self, wanted: Wanted) -> None:
        self._store._internal_kv_put(_KEY, msgspec.json.encode(wanted), overwrite=True)  # noqa: SLF001 - as above
        self._wanted = wanted

    def _follow(self) -> None:
        while True:
            try:
                self._look()
            except Exception:  # noqa: BLE001 - the next look may do better, and nobody else would look
                self._log.exception("the nodes could not be looked at")
            time.sleep(_LOOK_S)

    def _look(self) -> None:
        """Tell every living node all that holds, and take what it says of itself."""
        alive = {one["NodeID"]: one["NodeManagerAddress"] for one in self._ray.nodes() if one["Alive"]}
        with self._lock:
            for node in self._seen.keys() - alive.keys():
                self._lose(node)
                del self._seen[node]
            wanted = self._wanted
            for node, address in alive.items():
                self._seen.setdefault(node, _told(address, "starting", ""))
                actor = self._actor(node, address)
                if actor is not None and node not in self._asked:
                    order = wanted.of(address)
                    self._asked[node] = actor.be.remote(None if order is None else msgspec.json.encode(order))
                    self._asked_s[node] = time.monotonic()
        asked = {one: node for node, one in self._asked.items()}
        done, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=_LOOK_S) if asked else ([], [])
        answers = {asked[one]: self._answer(one) for one in done}
        with self._lock:
            for node in asked.values():
                address = alive[node]
                answer = answers.get(node)
                if answer is not None:
                    self._asked.pop(node, None)
                if isinstance(answer, dict):
                    drained = address in wanted.drained and answer["state"] == "idle"
                    self._seen[node] = {"address": address, **answer, **({"state": "drained"} if drained else {})}
                elif answer is not None:
                    self._seen[node] = _told(address, "failed", answer)
                    self._lose(node)
                    self._not_before_s[node] = time.monotonic() + _AGAIN_S
                elif time.monotonic() - self._asked_s[node] > _ANSWER_S:
                    self._seen[node] = _told(address, "failed", f"it has not answered for {_ANSWER_S:g} s")

    def _lose(self, node: str) -> None:
        """Have no actor on a node, whose Ray is gone, or which has failed."""
        self._asked.pop(node, None)
        actor = self._actors.pop(node, None)
        if actor is not None:
            with contextlib.suppress(Exception):
                self._ray.kill(actor)

    def _answer(self, one: Any) -> dict[str, Any] | str:
        try:
            answer: dict[str, Any] = self._ray.get(one, timeout=_ANSWER_S)
        except Exception as error:  # noqa: BLE001 - Ray has many, and each means the same for the node
            return problem(error)
        return answer

    def _actor(self, node: str, address: str) -> Any:
        """The actor of a node, made where there is none; None: it could not be made just now."""
        if node not in self._actors and time.monotonic() >= self._not_before_s.get(node, 0.0):
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415 - as `load`

            self._actors[node] = (
                self._ray.remote(Node)
                .options(
                    name=f"node-{node}",
                    namespace=NAMESPACE,
                    lifetime="detached",
                    get_if_exists=True,
                    num_cpus=0,
                    max_restarts=-1,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
                )
                .remote(address)
            )
        return self._actors.get(node)


def _told(address: str, state: str, told: str) -> dict[str, Any]:
    return {"address": address, "state": state, "told": told, "generation": None, "pid": None}
