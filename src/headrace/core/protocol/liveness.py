"""Whether another process's event loop turns: the one question that the supervisor asks all of them alike."""

from __future__ import annotations

import msgspec


class Ping(msgspec.Struct, frozen=True, tag=True):
    """Answer with `Pong` as soon as the event loop comes to it."""


class Pong(msgspec.Struct, frozen=True, tag=True):
    """The event loop turns."""
