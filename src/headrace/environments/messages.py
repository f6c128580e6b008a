"""What the builder process answers."""

from __future__ import annotations

import msgspec


class Built(msgspec.Struct, frozen=True, tag=True):
    """The environment with this digest is whole."""

    digest: str


class NotBuilt(msgspec.Struct, frozen=True, tag=True):
    """It is not; `kind` is the class of the error in `core.errors`, `reason` its message."""

    kind: str
    reason: str
