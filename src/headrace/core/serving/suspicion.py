"""Detects a model that fails because its calls run in parallel: what failed then succeeds alone.

That a failure alone succeeds says little of a model that fails now and then whatever is beside it (its provider does).
So what is asked is whether so many failures alone would have been seen, were it not for the company.

Pure, and without a clock.
"""

from __future__ import annotations

_TRIALS = 3
"""So many failures must succeed alone."""

_EXPECTED = 3.0
"""Of the calls alone so many would have failed, if they failed as often as those beside others."""

_SHARE = 0.25
"""At most this share of those did."""


class Suspicion:
    """Counts the calls of one pool."""

    __slots__ = ("_alone", "_alone_failed", "_beside", "_beside_failed", "_next", "_passed")

    def __init__(self) -> None:
        self._alone = self._alone_failed = self._beside = self._beside_failed = 0
        self._passed = 0
        self._next = 1

    def __repr__(self) -> str:
        alone, beside = f"{self._alone_failed}/{self._alone}", f"{self._beside_failed}/{self._beside}"
        return f"<Suspicion failed alone {alone} beside {beside} passed={self._passed}>"

    def count(self, *, beside: bool, failed: bool) -> bool:
        """A call is over. Returns whether it is worth trying alone: at first each that failed, then ever fewer."""
        if not beside:
            self._alone += 1
            self._alone_failed += failed
            return False
        self._beside += 1
        self._beside_failed += failed
        return failed and self._beside_failed >= self._next

    def tried(self, *, failed: bool) -> None:
        """A trial alone has ended."""
        self._alone += 1
        self._alone_failed += failed
        self._passed = 0 if failed else self._passed + 1
        if failed or self._passed >= _TRIALS:
            self._next = 2 * self._beside_failed

    @property
    def is_proven(self) -> bool:
        """Whether calls must not run in parallel."""
        if self._passed < _TRIALS:
            return False
        expected = self._alone * self._beside_failed / self._beside
        return expected >= _EXPECTED and self._alone_failed <= _SHARE * expected
