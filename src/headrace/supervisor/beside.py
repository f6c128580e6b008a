"""The tracks whose traffic another one takes a share of, as that one sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.core.identity import Resolved

if TYPE_CHECKING:
    from headrace.supervisor.track import Track
    from headrace.supervisor.versions import Version


class Beside:
    """`tracks` come before the one that takes a share: the main one first."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self._tracks = tracks

    @property
    def main(self) -> Version | None:
        """What the main track serves: whose share it is."""
        return self._tracks[0].serving

    def serving(self, resolved: Resolved) -> Version | None:
        """The version that one of them serves already, if it is this one."""
        for track in self._tracks:
            if track.serving is not None and track.serving.resolved.identity == resolved.identity:
                return track.serving
        return None

    def why_sent_back(self, resolved: Resolved) -> str:
        """Why one of them has stopped to serve this version; empty where nothing is held against it."""
        return next((reason for track in self._tracks if (reason := track.why_sent_back(resolved))), "")
