"""A supervisor's end of the channel to its keeper: what was kept for it, and what it has kept from now on.

A message is a word and its argument, with descriptors beside it; `keeping.Keeper` says what each means. The keeper
answers those after which something has to be closed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import traceback
from collections.abc import Mapping
from typing import NoReturn

EXIT_BROKEN = 70
"""The exit code of a supervisor that has found itself to be broken: another follows, as one that was killed."""

PATIENCE_S = 5.0
"""How long a keeper that stands still may hold a supervisor up."""

KEEP, DROP, LEND, PATIENCE, OPEN, PROVEN, CUT, NOTIFY = (
    b"keep", b"drop", b"lend", b"patience", b"open", b"proven", b"cut", b"notify",
)  # fmt: skip


class Kept:
    """`sockets` are those that listen, by name. `ended` is how the supervisor before this one ended; empty: none was.

    `follows`: gateways of an earlier one serve on, until this one says `proven`. `deaths` counts supervisors.
    """

    def __init__(
        self, channel: socket.socket, sockets: dict[str, socket.socket], *, ended: str, follows: bool, deaths: int
    ) -> None:
        self.sockets = sockets
        self.ended = ended
        self.follows = follows
        self.deaths = deaths
        self.pid = os.getppid()
        self._channel = channel
        self._channel.settimeout(PATIENCE_S)

    def hold(self, sockets: Mapping[str, socket.socket], patience_s: float | None = None) -> None:
        """Have these sockets kept, and no others; they are closed in the keeper, too, when this returns.

        `patience_s`: how long what was asked may take to be answered, once another supervisor has taken over; None:
        what was said before.
        """
        if patience_s is not None:
            self._say(PATIENCE, f"{patience_s:g}")
        for name, one in sockets.items():
            if self.sockets.get(name) is not one:
                self._say(KEEP, name, one.fileno())
        for name in self.sockets.keys() - sockets.keys():
            self._say(DROP, name, answered=True)
        self.sockets = dict(sockets)

    def lend(self, lifeline_fd: int, leash: socket.socket, directory: str) -> None:
        """Have what others live by kept: the lifeline's writing end, our end of the leash, and the run directory."""
        self._say(LEND, directory, lifeline_fd, leash.fileno())

    def opening(self) -> None:
        """Clients may be with our gateways from now on: they are to serve on when we end."""
        self._say(OPEN)

    def proven(self) -> None:
        """Our gateways serve all that can be served: those of supervisors before us finish what they have, and end."""
        self._say(PROVEN)

    def cut(self) -> None:
        """We end in order: nothing of ours is to live on."""
        self._say(CUT, answered=True)

    def notify(self, state: str) -> None:
        """Tell the service manager, which listens to the process that it has started."""
        self._say(NOTIFY, state)

    def broken(self) -> NoReturn:
        """End with the traceback of the exception that is handled now: it is a fault of ours."""
        traceback.print_exc()
        os._exit(EXIT_BROKEN)

    def _say(self, word: bytes, argument: str = "", *fds: int, answered: bool = False) -> None:
        """Lost without an error where the keeper does not take it: it is about to end, and everything with it."""
        with contextlib.suppress(OSError):
            socket.send_fds(self._channel, [word + b" " + os.fsencode(argument)], fds)
            if answered:
                self._channel.recv(16)
