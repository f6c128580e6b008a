"""The builder: a process of its own for one build, so that a build blocks nothing and ends with who ordered it.

    python -m headrace.environments        the order on standard input, as one line; the answer on standard output

Its standard input stays open as long as the one who ordered lives: when it closes, the builder ends itself and the
tools that it runs (they are in its process group). The lock goes with it, and the next builder removes what it left.
Should it be killed itself, the kernel ends its tools (on Linux): none of them writes on where the next one builds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import threading
from typing import BinaryIO

import msgspec

from headrace.core.errors import EnvironmentBuildFailed, HeadraceError
from headrace.environments.building import Order, build
from headrace.environments.messages import Built, NotBuilt

_F_SETSIG = getattr(fcntl, "F_SETSIG", 10)  # Linux; Python does not name it everywhere


def main() -> int:
    """Build one environment; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who ordered
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    _leash()
    threading.Thread(target=_watch, args=(sys.stdin.buffer,), daemon=True).start()
    answer: Built | NotBuilt
    try:
        answer = Built(digest=build(order, os.environ).digest)
    except HeadraceError as error:
        answer = NotBuilt(kind=type(error).__name__, reason=str(error))
    except OSError as error:
        answer = NotBuilt(kind=EnvironmentBuildFailed.__name__, reason=f"the environment could not be written: {error}")
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    sys.stdout.buffer.flush()
    return 0 if isinstance(answer, Built) else 1


def _leash() -> None:
    """Have our process group killed when this process ends: each tool inherits the read end of a pipe of ours."""
    reading, _ = os.pipe()  # the write end is ours alone, and closed by our end
    with contextlib.suppress(OSError):  # not Linux: the one who ordered ends the tools, if it lives
        fcntl.fcntl(reading, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(reading, _F_SETSIG, int(signal.SIGKILL))
        fcntl.fcntl(reading, fcntl.F_SETFL, fcntl.fcntl(reading, fcntl.F_GETFL) | os.O_ASYNC)
    os.set_inheritable(reading, True)


def _watch(stream: BinaryIO) -> None:
    while stream.read(1):
        pass
    os.killpg(0, signal.SIGKILL)  # it runs in a session of its own: the group is this process and its tools


if __name__ == "__main__":
    # At once: the thread that watches standard input would hold up an orderly end.
    code = main()
    os._exit(code)
