"""What the parts of one gateway share: its bounds, its memory, its counters, its way to write and to report.

Connections and pools have this, and neither each other nor the gateway itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.core.serving.admission import ClientShares
from headrace.core.serving.memory import MemoryBudget
from headrace.gateway.counters import GatewayCounters
from headrace.gateway.http.writer import ResponseWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from headrace.core.protocol import messages
    from headrace.gateway.exchange import RequestLog, SpanLog


class GatewayState:
    """`report` sends a message to the supervisor. `recording` and `spans` are set before anybody connects, if at all.

    No body may be larger than what one connection can have of the gateway's memory, even if `limits` allows it.
    `stream_shares`: how many streams each client has.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: messages.Limits,
        report: Callable[[messages.FromGateway], None],
    ) -> None:
        self.loop = loop
        self.memory = MemoryBudget(limits.max_memory_bytes)
        most_bytes = min(limits.max_body_bytes, self.memory.largest_bytes)
        self.limits = msgspec.structs.replace(limits, max_body_bytes=most_bytes)
        self.report = report
        self.counters = GatewayCounters()
        self.writer = ResponseWriter()
        self.recording: RequestLog | None = None
        self.spans: SpanLog | None = None
        self.stream_shares = ClientShares()
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as a task that is held here and cancelled at the gateway's end."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self) -> None:
        """End all tasks."""
        for task in self._tasks:
            task.cancel()
