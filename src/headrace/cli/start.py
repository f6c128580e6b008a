"""The first step of the command line: from here on a signal ends it at once, without a word, also while it imports."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line; see `headrace.cli.main`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    kept = None
    if _serves() and sys.platform == "linux":
        from headrace.keeper.keeping import Keeper  # noqa: PLC0415 - other commands need none

        kept = Keeper(_end).run()  # what follows is in another process: the supervisor's
    from headrace.cli.main import main as run  # noqa: PLC0415 - signals first: it takes a while

    try:
        run(kept)
    except Exception:
        if kept is None:
            raise
        kept.broken()


def _serves() -> bool:
    return sys.argv[1:2] == ["serve"]


def restore() -> None:
    """Have signals do what Python has them do, for a command that has imported all that it needs."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGTERM) is _end:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(number: int, _: FrameType | None) -> None:
    """End: there is nothing to clean up yet. A server that is asked to end does so with exit code 0, at any time."""
    os._exit(0 if _serves() else 128 + number)
