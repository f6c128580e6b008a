"""The status of an alias beside the version that serves. It has a kind, so that its text is never parsed."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from headrace.core.identity import Resolved


class Kind(enum.StrEnum):
    """What a status is about.

    Of a version: FAILED (it did not come up, and is tried again), REFUSED (a check said no), WITHDRAWN (it had traffic,
    did badly, and is not used again until the registry changes), SENT_BACK (the same, with all the traffic and under
    another alias), DOES_BADLY (it still serves, for nothing can replace it).
    Of the alias: MISSING (it is not in the registry), SHARED (another alias serves the same version), BROKEN (an error
    of headrace's own).
    """

    FINE = "fine"
    FAILED = "failed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    SENT_BACK = "sent back"
    DOES_BADLY = "does badly"
    MISSING = "missing"
    SHARED = "shared"
    BROKEN = "broken"


_NO_PROBLEM = frozenset({Kind.FINE, Kind.MISSING, Kind.SHARED})


@dataclass(frozen=True)
class Status:
    """`version` is the label of the version that it is about (empty: of the alias), `shared` that version itself."""

    kind: Kind = Kind.FINE
    reason: str = ""
    version: str = ""
    shared: Resolved | None = None

    @property
    def text(self) -> str:
        """The status in one line for people, with the version that it is about."""
        if not self.version or self.kind is Kind.SHARED:
            return self.reason
        return f"{self.version}: {'withdrawn: ' if self.kind is Kind.WITHDRAWN else ''}{self.reason}"

    @property
    def problem(self) -> str:
        """A problem that may need an operator; empty if there is none."""
        return "" if self.kind in _NO_PROBLEM else self.text

    @property
    def missing(self) -> str:
        """Why there is no alias to follow; empty if there is one."""
        return self.text if self.kind is Kind.MISSING else ""


FINE = Status()


@dataclass(frozen=True)
class Failure:
    """The version that failed last, until another serves. `at` is in Unix seconds."""

    label: str
    reason: str
    at: float
    environment: dict[str, Any] | None


@dataclass
class RegistryContact:
    """Whether the registry can be asked: `problem` is why not, `lost_s` since when (Unix seconds)."""

    asked: bool = False
    problem: str = ""
    lost_s: float | None = None
