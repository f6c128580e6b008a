"""What the supervisor asks the registry agent, and what it answers."""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.core.identity import Resolved
from headrace.core.protocol.liveness import Ping, Pong


class Resolve(msgspec.Struct, frozen=True, tag=True):
    """What does this URI point at now? Answered with `Done.resolved`."""

    id: int
    uri: str


class Fetch(msgspec.Struct, frozen=True, tag=True):
    """Bring this version's artifacts into the store. Answered with `Done.stored`."""

    id: int
    resolved: Resolved


class List(msgspec.Struct, frozen=True, tag=True):
    """Which registered models have this alias? Answered with `Done.listed`; the first `at_most` are served."""

    id: int
    alias: str
    at_most: int


class Promote(msgspec.Struct, frozen=True, tag=True):
    """Have the alias of a registered model point at this version. Answered with `Done.former`."""

    id: int
    name: str
    alias: str
    version: str


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """Registered names, and what the alias points at; `beyond` are the names of those above the bound.

    Equal texts mean the same version: a model that was deleted and made again has others, even with equal numbers.
    `more`: there are still others, which are not named.
    """

    versions: dict[str, str]
    beyond: tuple[str, ...] = ()
    more: bool = False


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A model directory of our own, whole and verified. `digest` names its content (sha256 over every file)."""

    digest: str
    path: str
    size_bytes: int


class Done(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The answer to the request with this id. `former` is the version that a moved alias pointed at before."""

    id: int
    resolved: Resolved | None = None
    stored: Stored | None = None
    listed: Listed | None = None
    former: str | None = None


Kind = Literal["not_found", "usage", "unavailable"]


class Failed(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The request could not be answered. `kind`: the caller asked for what is not there, or the registry is away."""

    id: int
    kind: Kind
    message: str


ToAgent = Resolve | Fetch | List | Promote | Ping
FromAgent = Done | Failed | Pong
