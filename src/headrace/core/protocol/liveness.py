"""The liveness check: the one question that the supervisor asks every kind of process."""

from __future__ import annotations

import msgspec


class Ping(msgspec.Struct, frozen=True, tag=True):
    """Answer with `Pong` as soon as the event loop gets to it."""


class Pong(msgspec.Struct, frozen=True, tag=True):
    """The event loop runs."""
