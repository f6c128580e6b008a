"""A process that has imported what models import, and is forked for each of their hosts.

It reads requests from a socket, one a message, and answers each with one message:

    {"import": [names]}                  -> {"imported": n} or {"left_out": name, "reason": text}; after that it ends
    {"fork": {...}} with a descriptor    -> {"pid": n} or {"error": text}

It loads no model, starts no thread, and has the variables that each of those hosts is to have. A module that does not
import, or leaves a thread running, has spoiled the process: the next one starts without that module.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import os
import socket
import sys
from typing import Any, Dict, List, Optional, Tuple  # noqa: UP035 - runs on Python 3.8

from . import lifeline, threads

_MOST_BYTES = 1 << 18
_FD_BYTES = array.array("i").itemsize

Message = Dict[str, Any]  # noqa: UP006


class Zygote:
    """One such process. `run` returns in each of its forks, too, and says then what the fork is to be."""

    def __init__(self, channel_fd: int, lifeline_fd: int) -> None:
        self._channel = socket.socket(fileno=channel_fd)
        self._lifeline_fd = lifeline.arm(lifeline_fd)

    def run(self) -> Optional[Message]:  # noqa: UP045
        """Answer until the supervisor is gone or a module has spoiled this process: None. In a fork: its host."""
        gc.disable()  # until the fork: what is imported stays, and a page that nobody writes to is shared
        while True:
            request, output = self._receive()
            if request is None:
                return None
            answer = _import(request["import"]) if "import" in request else self._fork(output)
            if answer is None:
                return dict(request["fork"])
            if output >= 0:
                os.close(output)
            self._channel.send(json.dumps(answer).encode())
            if "left_out" in answer:
                return None

    def _receive(self) -> Tuple[Optional[Message], int]:  # noqa: UP006, UP045
        """The next request, and the descriptor that came with it (-1: none); (None, -1) at the end."""
        data, told, _, _ = self._channel.recvmsg(_MOST_BYTES, socket.CMSG_SPACE(_FD_BYTES), socket.MSG_CMSG_CLOEXEC)
        fds = array.array("i")
        for _, _, content in told:
            fds.frombytes(content[:_FD_BYTES])
        return (json.loads(data) if data else None), (fds[0] if fds else -1)

    def _fork(self, output: int) -> Optional[Message]:  # noqa: UP045
        """What to answer; None in the fork. Its parent is a process that has ended: it is the supervisor's child."""
        reading, writing = os.pipe()
        with open(reading, "rb") as told, open(writing, "wb", buffering=0) as tell:
            try:
                between = os.fork()
            except OSError as error:
                return {"error": f"it could not be forked: {error.strerror}"}
            if between:
                tell.close()
                os.waitpid(between, 0)
                heard = told.read()
                return {"pid": int(heard)} if heard else {"error": "it could not be forked twice"}
            pid = -1
            try:
                pid = os.fork()
                if pid:
                    tell.write(b"%d" % pid)
            finally:  # whatever happens: the process in between does nothing else
                if pid:
                    os._exit(0)
        self._become_host(output)
        return None

    def _become_host(self, output: int) -> None:
        """Keep of the zygote what it has imported, and nothing else."""
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        self._channel.close()
        if self._lifeline_fd is not None:
            os.close(self._lifeline_fd)
        gc.enable()
        numpy_random = sys.modules.get("numpy.random")
        if numpy_random is not None:  # the others see to that themselves
            numpy_random.seed()


def _import(names: List[str]) -> Message:  # noqa: UP006
    for name in names:
        if name in sys.modules:
            continue
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 - a module's code may raise anything, SystemExit too
            text = " ".join(str(error).split())[:300]
            return {"left_out": name, "reason": f"it cannot be imported by itself: {type(error).__name__}: {text}"}
        started = threads.lost_by_fork()
        if started:
            return {"left_out": name, "reason": f"it starts threads: {', '.join(sorted(set(started)))}"[:300]}
    gc.freeze()
    return {"imported": len(sys.modules)}
