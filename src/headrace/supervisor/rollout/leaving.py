"""Ends what serves: it gets no new requests, answers those that it has, and only then its task ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from headrace.supervisor.rollout.dependencies import Traffic
from headrace.supervisor.rollout.version import Version


async def drain(traffic: Traffic, versions: Iterable[Version]) -> None:
    """Take these versions out of the table, and wait until no gateway has requests of them."""
    traffic.publish()
    for version in [*versions]:
        await traffic.drained(version.key)


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait until it has ended; how it ended does not matter any more."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
