"""One zygote: a process that has imported what models import, and is forked for each host. See `zygotes`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from headrace.supervisor.processes.adopted import Adopted
from headrace.supervisor.processes.children import Child
from headrace.supervisor.processes.output import OutputPipe
from headrace.supervisor.processes.worker_control import ControlRoom
from headrace.telemetry.logs import Log

WORKER = str(Path(__file__).resolve().parents[3] / "headrace_worker" / "__main__.py")
"""What a worker's interpreter is to run."""

_ROLE = "role=zygote".ljust(32)  # room for a replica's own title
_ARGUMENT_BYTES = 512  # room for the name of a model's version
_NAMES = 500
"""Of modules in one message: a Unix socket takes 200 kB at a time."""

_MOST_BYTES = 64 * 1024
_PATIENCE_S = 120.0
"""For one answer. A cold disk may take a minute for one large package."""

_GROWS_BYTES = 64 * 1024 * 1024
"""A zygote that holds so much more than after its last import is replaced: what it holds, each host begins with."""


class LeftOut(Exception):
    """A module has spoiled the zygote, which ends: the next one is to leave `name` out."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class ZygoteLost(Exception):
    """It has ended, or is ended because it did not answer as it should; says how."""


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What it says; one of them, and no more than that."""

    imported: int | None = None
    left_out: str | None = None
    reason: str = ""
    pid: int | None = None
    error: str | None = None


class Zygote:
    """One at a time may ask it something. `stamp` is that of its environment, `forks` counts its hosts."""

    def __init__(self, child: Child, channel: socket.socket, stamp: str) -> None:
        self.child = child
        self.stamp = stamp
        self.forks = 0
        self.modules = 0
        self._names: set[str] = set()
        self._channel = channel
        self._first_bytes: int | None = None

    @classmethod
    async def start(
        cls, python: str, room: ControlRoom, environ: Mapping[str, str], label: str, stamp: str, log: Log
    ) -> Zygote:
        """Start a process in the environment of this interpreter; raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            told = {
                "headrace_worker": label,
                "control": room.path,
                "lifeline_fd": room.lifeline_fd,
                "channel_fd": theirs.fileno(),
            }
            try:
                child = await Child.start(
                    [python, WORKER, json.dumps(told).ljust(_ARGUMENT_BYTES), _ROLE],
                    log=log,
                    pass_fds=(room.lifeline_fd, theirs.fileno()),
                    environ=environ,
                    directory=room.workplace,
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        return cls(child, ours, stamp)

    @property
    def has_grown(self) -> bool:
        """Whether it holds much more than when it had imported everything."""
        now_bytes = _resident_bytes(self.child.pid)
        return self._first_bytes is not None and now_bytes > self._first_bytes + _GROWS_BYTES

    async def bring(self, names: Iterable[str]) -> None:
        """Have it import these modules, in their order. Raises LeftOut or ZygoteLost: then its use has ended."""
        missing = [name for name in names if name not in self._names]
        for start in range(0, len(missing), _NAMES):
            some = missing[start : start + _NAMES]
            answer = await self._ask({"import": some})
            if answer.left_out is not None:
                raise LeftOut(answer.left_out, answer.reason)
            self._names.update(some)
            self.modules = answer.imported or 0
        if missing:
            self._first_bytes = _resident_bytes(self.child.pid)

    async def fork(self, label: str, token: str, log: Log) -> Child:
        """Have it fork a host, which comes with this token. Raises ZygoteLost, or OSError where it could not."""
        reading, writing = os.pipe()
        try:
            answer = await self._ask({"fork": {"label": label, "token": token}}, writing)
            process = _adopt(answer)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.forks += 1
        return Child(process, OutputPipe(reading, log))

    def hang_up(self) -> None:
        """Shut its channel: a call that waits for an answer ends with ZygoteLost, even if another process holds it."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of its channel, once nobody waits for an answer: who does would wait for ever."""
        self._channel.close()

    async def _ask(self, request: Mapping[str, object], *fds: int) -> _Answer:
        answered = False
        try:
            async with asyncio.timeout(_PATIENCE_S):
                # One question at a time, and a small one: there is room for it.
                socket.send_fds(self._channel, [json.dumps(request).encode()], fds)
                data = await asyncio.get_running_loop().sock_recv(self._channel, _MOST_BYTES)
                if not data:
                    await self.child.wait()
                    raise ZygoteLost(f"it {self.child.describe()}")
            answer = msgspec.json.decode(data, type=_Answer)
            answered = True
        except TimeoutError:
            raise ZygoteLost(f"it did not answer within {_PATIENCE_S:g} s") from None
        except (OSError, msgspec.DecodeError) as error:
            raise ZygoteLost(f"it broke the protocol: {error}") from None
        finally:
            if not answered:  # cancelled, too: the next answer would be taken for that to another question
                self.child.kill("it did not answer")
        return answer


def _adopt(answer: _Answer) -> Adopted:
    if answer.pid is None:
        raise OSError(answer.error)
    return Adopted(answer.pid)


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
