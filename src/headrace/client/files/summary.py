"""What came of a run over one or more inputs, in one line or as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_MOST_ROWS = 10


class Summary:
    """Counts rows, and those that failed. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begun_s = clock()
        self._inputs: list[str | None] = []
        self._earlier = 0
        self.rows = 0
        self.failed: list[tuple[str | None, int, str]] = []
        """(input, row from 0, why), in order."""

    def begin(self, name: str | None, rows: int) -> None:
        """Go on with an input; `name` None: it is the only one."""
        self._inputs.append(name)
        self.rows += rows

    def earlier(self, rows: int) -> None:
        """So many rows of the input were done by an earlier run."""
        self._earlier += rows

    def add(self, failed: Mapping[int, str]) -> None:
        """Note rows that failed, and why."""
        self.failed += [(self._inputs[-1], row, why) for row, why in sorted(failed.items())]

    def told(self, *, skipped: bool) -> str:
        """The run in one line."""
        seconds = self._clock() - self._begun_s
        done = self.rows - len(self.failed)
        files = f" of {len(self._inputs)} files" if len(self._inputs) > 1 else ""
        rate = f"{(self.rows - self._earlier) / seconds:,.0f} rows/s" if seconds > 0 else "at once"
        earlier = f", {self._earlier:,} of them by an earlier run" if self._earlier else ""
        told = f"{done:,} of {self.rows:,} rows{files} predicted in {seconds:.1f} s ({rate}{earlier})"
        if not self.failed:
            return told
        names = [str(row) if name is None else f"{name}: {row}" for name, row, _ in self.failed[:_MOST_ROWS]]
        more = ", ..." if len(self.failed) > _MOST_ROWS else ""
        what = "left out" if skipped else "without a prediction"
        first = self.failed[0][2]
        return f"{told}; {len(self.failed):,} {what}: rows {', '.join(names)}{more}; the first because: {first}"

    def describe(self) -> dict[str, Any]:
        """The run as JSON has it."""
        failed = [{"input": name, "row": row, "why": why} for name, row, why in self.failed]
        return {
            "rows": self.rows,
            "predicted": self.rows - len(self.failed),
            "earlier": self._earlier,
            "failed": failed,
            "seconds": round(self._clock() - self._begun_s, 3),
        }
