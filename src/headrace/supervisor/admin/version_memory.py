"""The memory of the processes of each version, for pages that are open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from headrace.supervisor.admin.process_usage import proportional_bytes
from headrace.supervisor.rollout.version import Version

_EVERY_S = 60.0


@dataclass(frozen=True)
class _Weighed:
    pids: frozenset[int]
    at_s: float
    found_bytes: int | None


class VersionMemory:
    """Proportional shares (PSS), whose sum is right although replicas share pages with their host.

    Weighed in a thread, at most once a minute unless a version's processes are others by then; shown as weighed last.
    """

    def __init__(self) -> None:
        self._weighed: dict[str, _Weighed] = {}
        self._weighing: asyncio.Task[None] | None = None

    def of(self, versions: Iterable[Version]) -> int | None:
        """Bytes of these versions together; None before any of them was measured."""
        found = [w.found_bytes for v in versions if (w := self._weighed.get(v.key)) and w.found_bytes is not None]
        return sum(found) if found else None

    def look(self, versions: Iterable[Version], *, all_there_are: bool = False) -> None:
        """Have these weighed where it is time to, without waiting. `all_there_are`: others are gone."""
        living = {v.key: _pids(v) for v in versions}
        if all_there_are:
            self._weighed = {key: one for key, one in self._weighed.items() if key in living}
        if self._weighing is None or self._weighing.done():
            now_s = time.monotonic()
            due = {key: pids for key, pids in living.items() if pids and self._is_due(key, pids, now_s)}
            if due:
                self._weighing = asyncio.create_task(self._weigh(due, now_s))

    def _is_due(self, key: str, pids: frozenset[int], now_s: float) -> bool:
        weighed = self._weighed.get(key)
        return weighed is None or weighed.pids != pids or now_s - weighed.at_s >= _EVERY_S

    async def _weigh(self, due: dict[str, frozenset[int]], now_s: float) -> None:
        found = await asyncio.to_thread(_weigh_all, due)
        self._weighed |= {key: _Weighed(pids, now_s, found[key]) for key, pids in due.items()}


def _pids(version: Version) -> frozenset[int]:
    processes = version.workers.processes if version.workers is not None else []
    return frozenset(one["pid"] for one in processes if one["pid"] is not None)


def _weigh_all(due: dict[str, frozenset[int]]) -> dict[str, int | None]:
    """Blocks: see `proportional_bytes`."""
    found = {key: [b for pid in pids if (b := proportional_bytes(pid)) is not None] for key, pids in due.items()}
    return {key: sum(parts) if parts else None for key, parts in found.items()}
