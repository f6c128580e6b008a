"""The connections of a pool to its workers: what the supervisor wants there to be, and what there is.

A worker that hung or sent nonsense is *condemned*: not connected to again for as long as the supervisor names it, for
it has been reported and its replacement will have another id.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from headrace.core.protocol.messages import WorkerLost, WorkerRef
from headrace.gateway.channel import Channel

if TYPE_CHECKING:
    from headrace.gateway.pool import Pool

_CONNECT_TRIES = 10
_CONNECT_PAUSE_S = 0.05
_CONNECT_LATER_S = 0.5


class Crew:
    """The owner of a pool's channels."""

    __slots__ = ("_channels", "_condemned", "_connecting", "_pool", "_wanted")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._wanted: dict[str, WorkerRef] = {}
        self._channels: dict[str, Channel] = {}
        self._condemned: set[str] = set()
        self._connecting: set[str] = set()

    def __len__(self) -> int:
        return len(self._channels)

    def __getitem__(self, worker: str) -> Channel:
        return self._channels[worker]

    def holds(self, channel: Channel) -> bool:
        """Whether this is the connection to its worker that counts; late news of an old one do not."""
        return self._channels.get(channel.worker) is channel

    def want(self, refs: tuple[WorkerRef, ...]) -> tuple[list[asyncio.Task[None]], list[str]]:
        """Make the crew what the newest table says: (connections being made, workers to be let go)."""
        self._wanted = {ref.id: ref for ref in refs}
        self._condemned &= self._wanted.keys()
        tasks = []
        for ref in refs:
            if ref.id not in self._channels and ref.id not in self._condemned and ref.id not in self._connecting:
                self._connecting.add(ref.id)
                tasks.append(self._pool.gateway.spawn(self._connect(ref)))
        return tasks, [worker for worker in self._channels if worker not in self._wanted]

    def workers(self) -> list[str]:
        """The connected ones."""
        return list(self._channels)

    def condemn(self, worker: str) -> None:
        """End the connection at once and make no other."""
        self._condemned.add(worker)
        channel = self._channels.get(worker)
        if channel is not None:
            channel.drop()

    def forget(self, channel: Channel) -> None:
        """The connection has ended."""
        if self.holds(channel):
            del self._channels[channel.worker]

    def let_go(self, worker: str) -> None:
        """End the connection; nothing is in flight on it."""
        channel = self._channels.pop(worker, None)
        if channel is not None:
            channel.close()

    def close(self) -> None:
        """End all connections."""
        self._wanted = {}
        for worker in list(self._channels):
            self.let_go(worker)

    async def _connect(self, ref: WorkerRef) -> None:
        """Connect to a worker. One that does not listen within half a second is reported lost.

        Whatever else is in the way (this process has no descriptors left) is not the worker's fault: tried again.
        """
        gateway = self._pool.gateway
        refused = False
        try:
            for _ in range(_CONNECT_TRIES):
                if ref.id not in self._wanted:
                    return
                try:
                    _, channel = await gateway.loop.create_unix_connection(
                        lambda: Channel(self._pool, ref.id), ref.socket
                    )
                except OSError as error:
                    refused = isinstance(error, ConnectionRefusedError | FileNotFoundError)
                    await asyncio.sleep(_CONNECT_PAUSE_S)
                    continue
                if ref.id not in self._wanted:
                    channel.close()
                    return
                self._channels[ref.id] = channel
                self._pool.joined(ref.id)
                return
            if refused:
                gateway.report(WorkerLost(ref.id, 0))
            else:
                gateway.spawn(self._connect_later(ref))
        finally:
            self._connecting.discard(ref.id)

    async def _connect_later(self, ref: WorkerRef) -> None:
        await asyncio.sleep(_CONNECT_LATER_S)
        if self._wanted.get(ref.id) == ref and ref.id not in self._channels and ref.id not in self._connecting:
            self._connecting.add(ref.id)
            await self._connect(ref)
