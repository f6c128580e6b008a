"""No orphans: a child process ends the moment its supervisor does, whatever it is doing.

The supervisor holds the only write end of one pipe, and every child inherits the read end. When the supervisor
ends, however it ends, the kernel closes the write end and sends the signal asked for here: SIGKILL, so that even
a model that spins in C code without ever letting Python run goes away at once.

Unlike ``PR_SET_PDEATHSIG`` this works for grandchildren too: a forked replica must outlive the process it was
forked from, but not the supervisor.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from typing import Optional

_F_SETSIG = getattr(fcntl, "F_SETSIG", 10)  # Linux; Python does not name it everywhere


def arm(fd: int) -> Optional[int]:  # noqa: UP045
    """End this process when the other end of the pipe `fd` closes; returns the descriptor that does it, if one does.

    Call it once in each process, and again after a fork: the signal goes to the process that armed it. The fd
    stays open for later forks. Where the kernel cannot signal on a pipe (not Linux), a daemon thread waits.
    """
    try:
        # An own open file description: the owner that F_SETOWN names belongs to it, and an inherited one is shared.
        own = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(own, _F_SETSIG, int(signal.SIGKILL))
        fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError:
        threading.Thread(target=_wait, args=(fd,), name="lifeline", daemon=True).start()
        return None
    # The supervisor may have ended before the line above: then no signal comes any more.
    try:
        if os.read(own, 1) == b"":
            os._exit(1)
    except BlockingIOError:
        pass
    return own


def _wait(fd: int) -> None:
    os.set_blocking(fd, True)
    while os.read(fd, 1):
        pass
    os._exit(1)
