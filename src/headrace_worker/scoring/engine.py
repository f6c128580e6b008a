"""Requests that may share a predict call: each alone or several together, with the same answers."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from headrace_worker import wire
from headrace_worker.scoring import rows, shapes
from headrace_worker.scoring.compare import Judge
from headrace_worker.scoring.errors.refusal import JSON
from headrace_worker.scoring.predicting import guarded_predict
from headrace_worker.scoring.texts import scalar_texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace_worker.scoring.evidence import Evidence
    from headrace_worker.scoring.oracle import Oracle
    from headrace_worker.scoring.output import Encoder
    from headrace_worker.scoring.shapes import Kind, Share

_logger = logging.getLogger(__name__)

MAX_KNOWN_ANSWERS = 4096
"""Answers of one short value (labels, mostly) that are kept instead of made again."""

MAX_KNOWN_CHARACTERS = 256

CHECK_NS = 100_000_000
"""After this long (or as long as the call itself took) no further request of it is checked: a slow model is got to know
over several calls, for whoever waits meanwhile would see each check."""

_PLAIN = frozenset((str, int, float, bool, type(None)))


class Clock:
    """Where a batch's time goes, in nanoseconds: `lap` adds the time since the last lap to a name."""

    __slots__ = ("_last", "parse", "predict", "predicts", "serialise")

    def __init__(self) -> None:
        self.parse = self.predict = self.serialise = self.predicts = 0
        self._last = time.perf_counter_ns()

    def lap(self, name: str) -> None:
        """Count the time since the last lap as time of `name`."""
        now = time.perf_counter_ns()
        setattr(self, name, getattr(self, name) + now - self._last)
        self._last = now

    def timing(self) -> wire.Timing:
        """The laps in microseconds."""
        return wire.Timing(self.parse // 1000, self.predict // 1000, self.serialise // 1000, self.predicts)


class Builds(Protocol):
    """Makes inputs: see `Builder`."""

    def build(self, kind: Kind, value: Any) -> tuple[Any, bool]:
        """(the input, whether it needs no further enforcement)."""


class Engine:
    """Scores shares. `finish` turns a raw answer to one request into wire form; `fail` does so for an exception.

    `table` takes a raw answer apart (by default `rows.table`), `parts` says into how many rows, and `judge` makes what
    compares the answers of a shared call with those alone.
    """

    def __init__(
        self,
        oracle: Oracle,
        builder: Builds,
        encoder: Encoder,
        evidence: Evidence,
        *,
        max_rows: int,
        tolerance: float | str,
        finish: Callable[[Any, Share], wire.Answer],
        fail: Callable[[Share, Exception, bool], wire.Answer],
        table: Callable[[Any], Any] | None = None,
        parts: Callable[[Any], int | None] = rows.parts,
        judge: Callable[[float | str, list[wire.Answer]], Judge] = Judge,
    ) -> None:
        self._oracle = oracle
        self._builder = builder
        self._encoder = encoder
        self._evidence = evidence
        self._max_rows = max_rows
        self._tolerance = tolerance
        self._finish = finish
        self._fail = fail
        self._table = table if table is not None else partial(rows.table, jsonable=encoder.jsonable)
        self._parts = parts
        self._judge = judge
        self._known: dict[str, wire.Answer] = {}

    def score(self, shares: list[Share], answers: list[Any], clock: Clock) -> None:
        """Answer all `shares`, which have one key, into `answers` at their places."""
        at = 0
        while at < len(shares):
            end, total = at + 1, shares[at].rows
            while end < len(shares) and total + shares[end].rows <= self._max_rows:
                total += shares[end].rows
                end += 1
            if end - at == 1 or not self._evidence.may_merge(shares[at].kind.shape, total):
                # One by itself; what it shows may allow the others to be merged.
                self._alone(shares[at], answers, clock)
                at += 1
                continue
            if not self._together(shares[at:end], total, answers, clock):
                for share in shares[at:end]:
                    self._alone(share, answers, clock)
            at = end

    def score_or_else(
        self, shares: list[Share], answers: list[Any], clock: Clock, alone: Callable[[Share], wire.Answer]
    ) -> None:
        """As `score`; should that fail on what a model made, `alone` answers each that has no answer yet."""
        try:
            self.score(shares, answers, clock)
        except Exception:
            _logger.exception("scoring together failed; each of the %d requests is scored by itself", len(shares))
            for share in shares:
                if answers[share.place] is None:
                    answers[share.place] = alone(share)

    def _alone(self, share: Share, answers: list[Any], clock: Clock) -> Any:
        """Score one request by itself; returns the model's raw answer, None if there is none."""
        predicting = False
        try:
            data, is_enforced = self._builder.build(share.kind, shapes.merged([share]))
            clock.lap("parse")
            predicting = True
            raw = self._predict(data, share.kind.params, is_enforced=is_enforced, clock=clock)
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            clock.lap("predict" if predicting else "parse")
            answers[share.place] = self._fail(share, error, predicting)
            clock.lap("serialise")
            return None
        self._evidence.saw(share.kind.shape, share.rows, self._parts(raw))
        answers[share.place] = self._finish(raw, share)
        clock.lap("serialise")
        return raw

    def _predict(self, data: Any, params: Any, *, is_enforced: bool, clock: Clock) -> Any:
        clock.predicts += 1
        raw = guarded_predict(self._oracle.unenforced if is_enforced else self._oracle.model, data, params)
        clock.lap("predict")
        return raw

    def _together(self, shares: list[Share], total: int, answers: list[Any], clock: Clock) -> bool:
        """Score several requests in one call; False if that says nothing about some of them."""
        began_ns = time.perf_counter_ns()
        try:
            data, is_enforced = self._builder.build(shares[0].kind, shapes.merged(shares))
            clock.lap("parse")
            raw = self._predict(data, shares[0].kind.params, is_enforced=is_enforced, clock=clock)
            table = self._table(raw)
        except Exception:  # noqa: BLE001 - one of them is at fault: each by itself shows which
            clock.lap("predict")
            return False
        if not self._evidence.saw(shares[0].kind.shape, total, None if table is None else table.rows):
            return False
        assert table is not None  # noqa: S101 - what `saw` found to have rows
        items = table.items
        is_flat = isinstance(items, list) and total == len(shares) and set(map(type, items)) <= _PLAIN
        if isinstance(items, list) and is_flat:
            self._split_scalars(shares, items, answers)
        else:
            self._split(shares, table, answers)
        clock.lap("serialise")
        owed = self._evidence.owed(shares[0].kind.shape)
        columns = [column for column in table.columns if not self._evidence.is_trusted(column.kind)]
        if not owed and not columns:
            return True
        judge = self._judge(self._tolerance, [answers[share.place] for share in shares])
        if owed and not self._are_as_alone(shares[-owed:], answers, clock, began_ns, judge):
            return False
        if is_flat and columns:
            self._settle_values(shares, columns[0], answers, clock, judge)
        elif columns:
            self._settle_parts(shares, columns, answers, clock, judge)
        return True

    def _are_as_alone(self, shares: list[Share], answers: list[Any], clock: Clock, began_ns: int, judge: Judge) -> bool:
        """Compare merged answers to `shares` with those of the requests alone; False: one differs.

        `began_ns` is when the merged call began: where checking takes too long, the rest is left for later calls.
        """
        shape = shares[0].kind.shape
        now_ns = time.perf_counter_ns()
        until_ns = now_ns + max(CHECK_NS, now_ns - began_ns)
        for share in shares:
            merged_answer = answers[share.place]
            self._alone(share, answers, clock)
            if not judge.near(answers[share.place], merged_answer):
                self._evidence.refuse("the answer to a request depends on the other rows of the call")
                return False
            self._evidence.checked(shape)
            if time.perf_counter_ns() >= until_ns:
                break
        return True

    def _split_scalars(self, shares: list[Share], items: list[Any], answers: list[Any]) -> None:
        known = self._known
        for share, text in zip(shares, scalar_texts(items)):
            answer = known.get(text)
            if answer is None:
                answer = wire.Answer(200, JSON, b'{"predictions": [%b]}' % text.encode(), 1)
                if len(known) >= MAX_KNOWN_ANSWERS:
                    known.clear()
                if len(text) <= MAX_KNOWN_CHARACTERS:
                    known[text] = answer
            answers[share.place] = answer

    def _split(self, shares: list[Share], table: rows.Table, answers: list[Any]) -> None:
        at = 0
        for share in shares:
            answers[share.place] = self._finish(table.part(at, at + share.rows), share)
            at += share.rows

    def _settle_values(
        self, shares: list[Share], column: rows.Column, answers: list[Any], clock: Clock, judge: Judge
    ) -> None:
        """Score requests of one row by themselves whose value might not have had the type of the merged answer."""
        for reason, places in rows.doubtful_values(column.values, column.kind).items():
            for place in places:
                if self._evidence.is_confirmed(column.kind, reason):
                    break
                self._settle(shares[place], [(column.kind, reason)], answers, clock, judge)

    def _settle_parts(
        self, shares: list[Share], columns: list[rows.Column], answers: list[Any], clock: Clock, judge: Judge
    ) -> None:
        """As `_settle_values`, for requests of several rows and answers of several columns."""
        at = 0
        for share in shares:
            end = at + share.rows
            reasons = [(column.kind, rows.doubt(column.values[at:end], column.kind)) for column in columns]
            doubts = [d for d in reasons if d[1] is not None and not self._evidence.is_confirmed(*d)]
            if doubts:
                self._settle(share, doubts, answers, clock, judge)
            at = end

    def _settle(
        self, share: Share, doubts: list[tuple[Any, Any]], answers: list[Any], clock: Clock, judge: Judge
    ) -> None:
        """Score a doubtful request by itself; its own answer counts, and tells whether the others' can be trusted."""
        merged_answer = answers[share.place]
        raw = self._alone(share, answers, clock)
        alone = None if raw is None else self._table(raw)
        if alone is None:
            return
        if not judge.near(answers[share.place], merged_answer):
            self._evidence.refuse("the form of an answer depends on the other rows of the call")
            return
        kinds = {column.kind for column in alone.columns}
        for kind, reason in doubts:
            if kind in kinds:
                self._evidence.confirm(kind, reason)
