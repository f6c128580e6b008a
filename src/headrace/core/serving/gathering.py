"""Decides whether a burst of requests is over, or the next look at the sockets will probably bring more of it.

Clients that were answered by one frame ask again at nearly the same time, but not within one look at the sockets: a
frame that goes to an idle worker after the first look takes a few of them, and the others wait until it is done. So it
goes when a look has brought nothing new, and after `MOST_LOOKS` at the latest. A lone request does not wait: there is
nothing to be counted with it, and the first look ends it.

Pure: a *look* is one turn of the caller's event loop, in which all sockets that have something are read.
"""

from __future__ import annotations

MOST_LOOKS = 8


class Gathering:
    """Decides how long a burst of requests is waited for; one burst at a time."""

    __slots__ = ("_count", "_looks")

    def __init__(self) -> None:
        self._count = self._looks = 0

    def begin(self, count: int) -> None:
        """`count` requests wait, the first of a burst among them, and a worker is idle."""
        self._count = count
        self._looks = 0

    def goes_on(self, count: int) -> bool:
        """After one more look `count` requests wait: True if it is worth another."""
        self._looks += 1
        more = count > self._count
        self._count = count
        return more and self._looks < MOST_LOOKS
