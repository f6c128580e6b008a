"""What a model's answers have shown about it: whether rows may be merged at all, and which types can be trusted."""

from __future__ import annotations

from collections import Counter
from typing import Any

from headrace_worker.scoring.bodies.allowance import Allowance

ENOUGH = 64
"""Doubts about one type that were settled in its favour, after which no further ones are raised."""

CHECKS = 64
"""Requests of a kind that are scored alone, too, before a merged call of it is believed."""

MAX_KINDS = 1024
"""Kinds of requests that are remembered; further ones are not merged."""


class Evidence:
    """Grows while a model serves; the only state that decides about merging.

    `unmergeable` is the reason why nothing of this model is merged, None while merging is possible; `news` the newest
    refusal that nobody has been told of. Row counts are judged by kind of request (`Kind.shape`): a text pipeline may
    answer a list row by row and a DataFrame once per column, and an odd request must not cost the others their speed.
    """

    def __init__(self, unmergeable: str | None) -> None:
        self.unmergeable = unmergeable
        self.news: str | None = None
        self._exact: dict[Any, int | None] = {}
        self._checked: Counter[Any] = Counter()
        self._calls: Counter[Any] = Counter()
        self._inexact: set[Any] = set()
        self._allowance = Allowance(MAX_KINDS)
        self._confirmed: set[Any] = set()
        self._times: Counter[Any] = Counter()
        self._trusted: set[Any] = set()

    def may_merge(self, shape: Any, total: int) -> bool:
        """Whether requests of this kind with `total` rows may share a call.

        Only once another number of rows was answered with exactly that many: a model that always answers one row for
        each of its columns looks right wherever the two numbers happen to meet.
        """
        return (
            self.unmergeable is None
            and shape not in self._inexact
            and shape in self._exact
            and self._exact[shape] != total
        )

    def saw(self, shape: Any, rows_in: int, rows_out: int | None) -> bool:
        """One call held `rows_in` rows and was answered with `rows_out` (None: no list of rows); whether that fits."""
        if rows_out != rows_in:
            if shape not in self._inexact and (shape in self._exact or self._allowance.take(shape)):
                self._inexact.add(shape)
                got = "nothing that has rows" if rows_out is None else rows_out
                self.news = f"{shape[0]}: {rows_in} rows were answered with {got}"
            self._exact.pop(shape, None)
            self._checked.pop(shape, None)
            self._calls.pop(shape, None)
            return False
        known = self._exact.get(shape, rows_in)
        if shape in self._exact or (shape not in self._inexact and self._allowance.take(shape)):
            # None: two numbers are known, so whatever the total, one of them is another.
            self._exact[shape] = rows_in if known == rows_in and known is not None else None
        return True

    def is_exact(self, shape: Any) -> bool:
        """Whether no call of this kind was answered with another number of rows."""
        return shape not in self._inexact

    def owed(self, shape: Any) -> int:
        """How many requests of a merged call, which has just been made, are to be scored alone, too.

        Right numbers of rows are not yet right answers: a model may rank its rows, or do arithmetic that adds up in
        another order where there are more of them. So the first `CHECKS` requests are compared with their answers
        alone, and then one in each of the 64th, 128th, 256th... calls.
        """
        left = CHECKS - self._checked[shape]
        if left > 0:
            return left
        self._calls[shape] += 1
        calls = self._calls[shape]
        return int(calls >= CHECKS and calls & (calls - 1) == 0)

    def checked(self, shape: Any) -> None:
        """A request of a merged call was answered as it is alone."""
        self._checked[shape] += 1

    def refuse(self, reason: str) -> None:
        """Never merge anything of this model again."""
        if self.unmergeable is None:
            self.unmergeable = reason
            self.news = reason

    def is_trusted(self, kind: Any) -> bool:
        """Whether values of `kind` need not be looked at any more."""
        return kind in self._trusted

    def is_confirmed(self, kind: Any, reason: Any) -> bool:
        """Whether values of `kind` with this doubt were seen to have that type in a request alone, too."""
        return (kind, reason) in self._confirmed or kind in self._trusted

    def confirm(self, kind: Any, reason: Any) -> None:
        """A request alone was answered with `kind` where its values could have had a narrower type."""
        self._confirmed.add((kind, reason))
        self._times[kind] += 1
        if self._times[kind] >= ENOUGH:
            self._trusted.add(kind)
