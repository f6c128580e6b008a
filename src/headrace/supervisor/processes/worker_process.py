"""The processes of one version, as `workers` knows each of them, and how a host is started."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from headrace.core.protocol.worker_events import Event, Pong, Ready
from headrace.environments.preparing import Prepared
from headrace.supervisor.processes.children import Child
from headrace.supervisor.processes.compiled_states import CompiledStates
from headrace.supervisor.processes.endings import Ending
from headrace.supervisor.processes.liveness import Pulse
from headrace.supervisor.processes.worker_control import ControlRoom, Greet, Reporter
from headrace.supervisor.processes.zygote_process import WORKER
from headrace.supervisor.processes.zygotes import Zygotes
from headrace.telemetry.logs import Log

_ROLE = "role=host".ljust(32)  # room for a forked replica's own title

EndReason = Literal["died", "hung", "protocol", "host", "load"]
"""Why a process ended that should not have: by itself, killed for silence, killed for what it said or closed, as a host
(loaded), while it loaded."""


def none_ended() -> dict[EndReason, int]:
    """Counts of ended processes by reason, all 0."""
    return dict.fromkeys(get_args(EndReason), 0)


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """What to run: `key` is the pool's. Which interpreter and which model directory, `Workers.load` is told.

    A process that is silent for `hung_after_s` (None: for ever) is replaced; one that may be at work for a request is
    given `timeout_s` beside that. `share_imports`: a host may be forked from a process that others are forked from.
    """

    key: str
    model: str
    label: str
    replicas: int
    environ: Mapping[str, str]
    kept_back: frozenset[str]
    options: Mapping[str, Any]
    share_imports: bool
    timeout_s: float
    hung_after_s: float | None


@dataclass
class Replica:
    """One process that serves. `leaving`: it is one too many. `index` is the lowest number that no other one has.

    `compiled` is where it is kept how far it is with the faster form of its model.
    """

    id: str
    socket: str
    index: int
    compiled: CompiledStates
    token: str = ""
    reporter: Reporter | None = None
    ready: bool = False
    leaving: bool = False
    end: EndReason = "died"
    ending: Ending = field(default_factory=Ending)
    started_s: float = field(default_factory=time.monotonic)
    rss_bytes: int = 0
    pulse: Pulse = field(default_factory=Pulse)

    @property
    def state(self) -> str:
        """`starting`, `ready` or `leaving`."""
        return "leaving" if self.leaving else "ready" if self.ready else "starting"

    def heard(self, event: Event) -> None:
        """Note that its process has said something: it is alive."""
        self.pulse.heard()
        told = event.facts.compiled if isinstance(event, Ready) else event.compiled if isinstance(event, Pong) else None
        if told is not None:
            self.compiled.hear(self.id, told)

    def unlink(self) -> None:
        """Remove its socket."""
        Path(self.socket).unlink(missing_ok=True)

    def kill(self, why: str, end: EndReason = "died") -> None:
        """Kill its process for that reason; it counts as `end`."""
        self.end = end if self.end == "died" else self.end
        self.ending.blame(why)
        if self.reporter is not None:
            self.reporter.kill()


@dataclass
class Host:
    """One process that loads the model, and then is forked, or serves itself (`serving`)."""

    child: Child
    token: str
    reporter: Reporter | None = None
    loaded: bool = False
    forkable: bool = False
    serving: Replica | None = None
    forked: dict[str, Replica] = field(default_factory=dict)
    pulse: Pulse = field(default_factory=Pulse)
    reason: str = ""
    detail: str = ""

    def heard(self, event: Event) -> None:
        """Note that it has said something, for itself or as the replica that it is: it is alive."""
        if self.serving is not None:
            self.serving.heard(event)
        else:
            self.pulse.heard()

    def kill(self, why: str, end: EndReason) -> None:  # noqa: ARG002 - a host's end is a host's, or its load's
        """Kill it for that reason."""
        self.child.kill(why)


async def start_host(
    spec: WorkerSpec, room: ControlRoom, zygotes: Zygotes, prepared: Prepared, path: str, greet: Greet, log: Log
) -> Host:
    """Have a process that is invited: `greet` has it once it has connected. Raises OSError.

    It is a fork of a process that has imported what the model in `path` imports; where there is none, it is started.
    """
    child = await _fork(spec, room, zygotes, prepared, path, greet, log) if spec.share_imports else None
    return child or await _start(spec, room, prepared, greet, log)


async def _fork(
    spec: WorkerSpec, room: ControlRoom, zygotes: Zygotes, prepared: Prepared, path: str, greet: Greet, log: Log
) -> Host | None:
    """A host that was forked; None where that cannot be done. A fork that nobody has told of is turned away."""
    forked: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def meet(reporter: Reporter) -> None:
        if reporter.pid == await forked:
            await greet(reporter)

    token, child = room.invite("host", meet), None
    try:
        child = await zygotes.fork(prepared, spec.environ, path, spec.label, token, log)
    finally:
        forked.set_result(None if child is None else child.pid)
        if child is None:
            room.uninvite(token)
    return None if child is None else Host(child, token)


async def _start(spec: WorkerSpec, room: ControlRoom, prepared: Prepared, greet: Greet, log: Log) -> Host:
    """A host that is a process of its own. Raises OSError."""
    token = room.invite("host", greet)
    # Through a pipe: the command line and the environment are there for all of the same user to read.
    reading, writing = os.pipe()
    try:
        os.write(writing, token.encode())
        child = await Child.start(
            [prepared.python, WORKER, _arguments(room, spec, reading), _ROLE],
            log=log,
            pass_fds=(room.lifeline_fd, reading),
            environ=prepared.environ(spec.environ),
            directory=room.workplace,
        )
    except BaseException:
        room.uninvite(token)
        raise
    finally:
        os.close(reading)
        os.close(writing)
    return Host(child, token)


def _arguments(room: ControlRoom, spec: WorkerSpec, token_fd: int) -> str:
    """The worker's command-line argument: where to report, and who it is (which ``ps`` then shows)."""
    return json.dumps(
        {
            "headrace_worker": spec.label,
            "control": room.path,
            "lifeline_fd": room.lifeline_fd,
            "token_fd": token_fd,
        }
    )
