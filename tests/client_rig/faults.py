"""Faults that tests of the client put between it and a server, and what they need beside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.client_rig.proxy import HANG, Fault

RESET = Fault(reset=True)

RESET_AFTER = Fault(reset=True, after=True)

CUT = Fault(keep_bytes=5)

GONE = Fault(status=503)

SOON = Fault(status=429, headers="retry-after: 1\r\n", body=b"{}")

HELD = Fault(hold_s=HANG)

LATE = Fault(status=503, hold_s=0.2)


def collect(pieces: Iterable[Any], into: list[Any]) -> None:
    """Keep what comes before an error too."""
    for piece in pieces:
        into.append(piece)  # noqa: PERF402 - `extend` keeps nothing of what an iterator gave before it raised
