"""What a worker process says to its supervisor, and when it may say it: JSON objects, one a line.

A worker runs a model, and a model is somebody else's code: it can write to this channel, too. So each line is checked:
its form, and whether it may come now. A process says little, and nothing that it was not asked for. Whatever else comes
is its end.
"""

from __future__ import annotations

import enum
from typing import Annotated, Literal

import msgspec

from headrace.core.escaping import loads_encodable
from headrace.core.protocol.raised import Raised

_MOST_STATE_BYTES = 16 * 1024 * 1024
"""Of a line that tells what was loaded: a signature may have 100,000 columns."""

_MOST_BYTES = 4096
"""Of any other line."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, msgspec.Meta(max_length=512)]
Text = Annotated[str, msgspec.Meta(max_length=100_000)]
Modules = Annotated[tuple[Name, ...], msgspec.Meta(max_length=50_000)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


Role = Literal["host", "replica"]


class Compiled(msgspec.Struct, frozen=True, kw_only=True):
    """How far a replica is with the faster form of its model (docs/compiled.md), and what it has compared of live rows.

    `reason`: why there is none, or why it is not used any more.
    """

    state: Literal["none", "proving", "shadow", "compiled", "refused"]
    form: Text = ""
    reason: Text = ""
    proved_rows: Count = 0
    equal_rows: Count = 0
    different_rows: Count = 0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a loaded model. `signature` is as MLflow writes it; None: it has none.

    `speaks` are the kinds of request of OpenAI's dialect that it answers.
    """

    mlflow_version: Name = ""
    python_version: Name = ""
    loader_module: Name | None = None
    signature: dict[str, str | None] | None = None
    type_hint: bool = False
    streams: bool = False
    speaks: Annotated[tuple[Name, ...], msgspec.Meta(max_length=16)] = ()
    mergeable: bool = True
    unmergeable_reason: Text | None = None
    has_example: bool = False
    compiled: Compiled | None = None
    threads: bool = True
    """Whether MLflow's own server, of the version there, calls a model from several threads: it must stand that."""


class WarmUp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of the model's own example; `ok` None: it has none that can be used."""

    ok: bool | None
    reason: Text = ""
    status: int | None = None
    rows_in: Count | None = None
    rows_out: Count | None = None
    took_s: Seconds = 0.0


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=str.lower):
    """One line."""


class Hello(_Event, frozen=True, kw_only=True):
    """The first line. `token` says who it is: the supervisor has given it to that process, to be used once."""

    token: Name
    role: Role


class Loaded(_Event, frozen=True, kw_only=True):
    """The host has the model. `forkable`: its replicas can be forks of it.

    `imported` are the installed modules that it has imported for that, in their order.
    """

    facts: Facts
    took_s: Seconds
    forkable: bool
    imported: Modules = ()


class Failed(_Event, frozen=True, kw_only=True):
    """The host could not load the model, and ends; `detail` is the traceback."""

    reason: Text
    detail: Text


class Exited(_Event, frozen=True, kw_only=True):
    """A replica that was forked from this host has ended; `exit` is negative for a signal."""

    replica: Name
    exit: Annotated[int, msgspec.Meta(ge=-255, le=255)]


class Ready(_Event, frozen=True, kw_only=True):
    """The process listens on its socket and is warm; `imported` as in Loaded, since then.

    `raised`: what the model raised on its own example.
    """

    facts: Facts
    warm_up: WarmUp
    rss_bytes: Count
    imported: Modules = ()
    raised: Annotated[tuple[Raised, ...], msgspec.Meta(max_length=100)] = ()


class Pong(_Event, frozen=True, kw_only=True):
    """The answer to a ping. `compiled`: as in Facts, by now; None where it has not been asked to look for a form."""

    compiled: Compiled | None = None


Event = Hello | Loaded | Failed | Exited | Ready | Pong


class Phase(enum.Enum):
    """How far a process is, as far as it matters here."""

    STRANGER = "before its hello"
    LOADING = "while it loads"
    HOST = "as a host that is loaded"
    WARMING = "while it warms up"
    SERVING = "while it serves"
    OVER = "after it has failed"


_MAY_SAY: dict[Phase, tuple[type[Event], ...]] = {
    Phase.STRANGER: (Hello,),
    Phase.LOADING: (Loaded, Failed),
    Phase.HOST: (Exited, Pong),
    Phase.WARMING: (Ready, Pong),
    Phase.SERVING: (Pong,),
    Phase.OVER: (),
}
_LEADS_TO: dict[type[Event], Phase] = {Loaded: Phase.HOST, Ready: Phase.SERVING, Failed: Phase.OVER}
_MOST_BYTES_IN = {Phase.LOADING: _MOST_STATE_BYTES, Phase.WARMING: _MOST_STATE_BYTES}


class ProtocolError(Exception):
    """A process said what it must not; the message says what and when, in one line."""


class Conversation:
    """One process's side of the channel: feed it what the socket gave, in any pieces, and tell it what was asked."""

    def __init__(self) -> None:
        self.phase = Phase.STRANGER
        self._buffer = bytearray()
        self._looked_at = 0
        self._pings = 0
        self._forks: set[str] = set()

    def __repr__(self) -> str:
        return f"<Conversation {self.phase.name} pings={self._pings} forks={len(self._forks)}>"

    def pinged(self) -> None:
        """One pong more may come."""
        self._pings += 1

    def serves(self) -> None:
        """The host was told to serve itself."""
        self.phase = Phase.WARMING

    def forked(self, replica: str) -> None:
        """The host was told to fork this replica: it may say, once, that it has ended."""
        self._forks.add(replica)

    def feed(self, data: bytes) -> list[Event]:
        """Take more bytes, return the events that are whole; raises ProtocolError for what may not come now.

        What came before the mistake, in the same call, is lost with it: its process is given up anyway.
        """
        self._buffer += data
        events = []
        while (end := self._buffer.find(b"\n", self._looked_at)) >= 0:
            events.append(self._hear(bytes(self._buffer[:end])))
            del self._buffer[: end + 1]
            self._looked_at = 0
        self._looked_at = len(self._buffer)
        self._check_length(self._looked_at)
        return events

    def _hear(self, line: bytes) -> Event:
        self._check_length(len(line))
        try:
            event = msgspec.convert(loads_encodable(line), Event)
        except (ValueError, RecursionError) as error:  # msgspec's ValidationError is a ValueError
            raise ProtocolError(f"{self.phase.value} it sent {_short(line)}: {str(error)[:200]}") from None
        if not isinstance(event, _MAY_SAY[self.phase]):
            raise ProtocolError(f"{self.phase.value} it may not say {type(event).__name__.lower()!r}")
        if isinstance(event, Pong):
            self._pings -= 1
            if self._pings < 0:
                raise ProtocolError("it sent a pong that nobody had asked for")
        elif isinstance(event, Exited):
            if event.replica not in self._forks:
                raise ProtocolError(f"it reported the end of {event.replica[:100]!r}, which it had not forked")
            self._forks.discard(event.replica)
        if isinstance(event, Hello):
            self.phase = Phase.WARMING if event.role == "replica" else Phase.LOADING
        else:
            self.phase = _LEADS_TO.get(type(event), self.phase)
        return event

    def _check_length(self, length: int) -> None:
        most = _MOST_BYTES_IN.get(self.phase, _MOST_BYTES)
        if length > most:
            raise ProtocolError(f"{self.phase.value} it sent a line of more than {most} bytes")


def _short(line: bytes) -> str:
    return repr(line[:60]) + ("..." if len(line) > 60 else "")
