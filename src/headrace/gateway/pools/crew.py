"""The connections of a pool to its workers: what the supervisor wants there to be, and what there is.

A worker that hung or sent nonsense is *condemned*: not connected to again for as long as the supervisor names it, for
it has been reported and its replacement will have another id.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from headrace.core.protocol.messages import WorkerBroke, WorkerLost, WorkerRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.gateway.pools.channel import Channel
    from headrace.gateway.state import GatewayState

_CONNECT_TRIES = 10
_CONNECT_PAUSE_S = 0.05
_CONNECT_LATER_S = 0.5


class Crew:
    """The owner of a pool's channels, which `make` makes; `joined` is told of each worker that is connected."""

    __slots__ = ("_channels", "_condemned", "_connecting", "_joined", "_make", "_state", "_wanted")

    def __init__(self, state: GatewayState, make: Callable[[str], Channel], joined: Callable[[str], None]) -> None:
        self._state = state
        self._make = make
        self._joined = joined
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
                tasks.append(self._state.spawn(self._connect(ref)))
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

    def distrust(self, channel: Channel, reason: str) -> None:
        """A worker has sent what is no frame, or an answer that nobody asked for: never talk to it again."""
        if self.holds(channel):
            self._state.report(WorkerBroke(channel.worker, reason))
            self.condemn(channel.worker)

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

        Another reason (this process has no descriptors left) is not the worker's fault: tried again.
        """
        state = self._state
        refused = False
        try:
            for _ in range(_CONNECT_TRIES):
                if ref.id not in self._wanted:
                    return
                try:
                    _, channel = await state.loop.create_unix_connection(lambda: self._make(ref.id), ref.socket)
                except OSError as error:
                    refused = isinstance(error, ConnectionRefusedError | FileNotFoundError)
                    await asyncio.sleep(_CONNECT_PAUSE_S)
                    continue
                if ref.id not in self._wanted:
                    channel.close()
                    return
                self._channels[ref.id] = channel
                self._joined(ref.id)
                return
            if refused:
                state.report(WorkerLost(ref.id, 0))
            else:
                state.spawn(self._connect_later(ref))
        finally:
            self._connecting.discard(ref.id)

    async def _connect_later(self, ref: WorkerRef) -> None:
        await asyncio.sleep(_CONNECT_LATER_S)
        if self._wanted.get(ref.id) == ref and ref.id not in self._channels and ref.id not in self._connecting:
            self._connecting.add(ref.id)
            await self._connect(ref)
