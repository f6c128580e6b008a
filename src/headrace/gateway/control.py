"""The gateway's end of the channel to its supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headrace.core.protocol import framing
from headrace.core.protocol.messages import FromGateway, ToGateway


class Control(asyncio.Protocol):
    """Calls `on_message` for each message and `on_end` when the supervisor is gone, or makes no sense any more."""

    transport: asyncio.Transport

    def __init__(self, on_message: Callable[[ToGateway], None], on_end: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_end = on_end
        self._decoder: framing.Decoder[ToGateway] = framing.Decoder(ToGateway)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        try:
            for message in self._decoder.feed(data):
                self._on_message(message)
        except framing.FramingError:
            # A supervisor of another version: end, and be started again.
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Called by asyncio."""
        self._on_end()

    def send(self, message: FromGateway) -> None:
        """Send a message; nothing happens if the supervisor is gone, for this process ends then anyway."""
        if not self.transport.is_closing():
            self.transport.write(framing.encode(message))
