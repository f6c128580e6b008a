"""Whether a model is healthy, from probes that passed or failed. One failure alone decides nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Health:
    """`failures` failed probes in a row make it unwell, `successes` passed ones in a row make it well again.

    `reason` is the latest failure while it is unwell, else empty. `failed` and `passed` count the current row.
    """

    failures: int
    successes: int
    reason: str = ""
    failed: int = 0
    passed: int = 0

    @property
    def well(self) -> bool:
        """Whether it may get traffic."""
        return not self.reason

    def saw(self, failure: str | None) -> bool:
        """Take the result of a probe (None: it passed). Returns whether that has changed `well`."""
        was = self.well
        if failure is None:
            self.failed, self.passed = 0, self.passed + 1
            if self.passed >= self.successes:
                self.reason = ""
        else:
            self.failed, self.passed = self.failed + 1, 0
            if self.failed >= self.failures or not was:
                self.reason = failure or "no reason was given"
        return self.well is not was

    def forget(self) -> None:
        """Reset: another version serves."""
        self.reason, self.failed, self.passed = "", 0, 0
