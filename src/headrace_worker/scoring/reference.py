"""Requests that are scored by themselves: by MLflow's own functions, and repaired where those refuse by an accident."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from headrace_worker import wire
from headrace_worker.scoring import rows
from headrace_worker.scoring.bodies import media
from headrace_worker.scoring.bodies.tables import Tables
from headrace_worker.scoring.errors import locate, telling
from headrace_worker.scoring.errors.failures import Failures
from headrace_worker.scoring.errors.refusal import JSON, Refusal
from headrace_worker.scoring.oracle import Call, CallFailed
from headrace_worker.scoring.output import Unsendable
from headrace_worker.scoring.shapes import LINES, LLM_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace_worker.scoring.oracle import Oracle
    from headrace_worker.scoring.output import Encoder
    from headrace_worker.scoring.plan import Plan
    from headrace_worker.scoring.repairing.second_try import Outcome, SecondTry
    from headrace_worker.scoring.shapes import Share


class Reference:
    """Scores requests of one model alone. `parse` makes the JSON of a body anew, for MLflow changes what it is given.

    `hazards` counts requests by what was lost in them, and is emptied by whoever reads it; `failures` holds what the
    model raised with the answer that tells of it.
    """

    def __init__(
        self,
        oracle: Oracle,
        plan: Plan,
        encoder: Encoder,
        second_try: SecondTry,
        teller: telling.Teller,
        parse: Callable[[bytes], Any],
        *,
        strict: bool,
    ) -> None:
        self._oracle = oracle
        self._plan = plan
        self._encoder = encoder
        self._second_try = second_try
        self._teller = teller
        self._parse = parse
        self._strict = strict
        self._tables = Tables(oracle)
        self.hazards: Counter[str] = Counter()
        self.failures = Failures()

    def finish(self, raw: Any, share: Share) -> wire.Answer:
        """The answer to a share that the model answered with `raw`."""
        rows_out = rows.count(raw)
        if rows_out is not None and rows_out < share.rows:
            return self._tell_fewer(raw, share.rows, rows_out)
        try:
            return wire.Answer(200, JSON, self._encoder.encode(raw), share.rows)
        except Unsendable as unsendable:
            return self._tell_unsendable(unsendable, share.rows)

    def _tell_fewer(self, raw: Any, rows_in: int, rows_out: int) -> wire.Answer:
        self.hazards[locate.FEWER_ROWS] += 1
        if self._strict:
            return telling.tell_fewer_rows(rows_in, rows_out)
        try:
            return wire.Answer(200, JSON, self._encoder.encode(raw), rows_in, wire.FLAG_HAZARD)
        except Unsendable as unsendable:
            return self._tell_unsendable(unsendable, rows_in)

    def fail(self, share: Share, error: Exception, predicting: bool) -> wire.Answer:  # noqa: FBT001
        """The answer to a share whose conversion or prediction raised `error`, in MLflow's words.

        The scoring server goes through the request once more with a model that raises `error`, or, where nothing was
        predicted yet, with the real one.
        """
        return self.anew(share, error if predicting else None)

    def anew(self, share: Share, error: Exception | None = None) -> wire.Answer:
        """`by_reference` for a share, from its bytes."""
        body = bytes(share.body)
        if share.kind.form == LINES:
            return self.by_reference(media.CSV, body, None, error)
        return self.by_reference(media.JSON, body, self._parse(body), error)

    def score(self, head: media.Media, body: bytes, request: Any) -> wire.Answer:
        """Score a request that cannot be merged, watching for hazards of the protocol."""
        found = []
        if self._plan.has_hazards and type(request) is dict:
            found = list(locate.hazards(request, self._plan))
        if found and self._strict:
            refusal = Refusal(400, "INVALID_PARAMETER_VALUE", found[0].message, found[0].path)
            self.hazards.update({finding.hazard for finding in found})
            return telling.tell_refusal(refusal, strict=True)
        outcome = self._second_try.foresee(body) if head.kind == media.JSON else None
        if outcome is None:
            answer = self.by_reference(head.kind, body, request)
        else:
            answer = self._answer_outcome(outcome, body, request)
        if found and answer.status == 200:
            self.hazards.update({finding.hazard for finding in found})
            answer = answer._replace(flags=answer.flags | wire.FLAG_HAZARD)
        return answer

    def by_reference(self, kind: str, body: bytes, request: Any, error: Exception | None = None) -> wire.Answer:
        """The answer to a body that MLflow is asked about; with `error` the model is taken to have raised it."""
        try:
            call, text = self._call(kind, body, request, error)
        except CallFailed as failed:
            if not failed.call.predicted:
                return self._again(kind, body, request, failed)
            # The model has answered, with something that MLflow cannot send.
            call, text = failed.call, None
        return self._answer(call, text, request)

    def _again(self, kind: str, body: bytes, request: Any, failed: CallFailed) -> wire.Answer:
        """The answer to a request that MLflow has refused or the model failed on; repaired where it can be."""
        outcome = self._second_try.score(kind, body, request, failed)
        if outcome is None or (outcome.is_refused and not self._strict):
            return self._tell(failed, request)
        return self._answer_outcome(outcome, body, request)

    def _answer_outcome(self, outcome: Outcome, body: bytes, request: Any) -> wire.Answer:
        repaired = outcome.repaired
        if outcome.call is not None:
            return self._answer(outcome.call, outcome.text, request if repaired is None else repaired.request)
        assert outcome.failed is not None  # noqa: S101 - what has no call has failed
        told = self._second_try.repaired(body, as_json=True) if repaired is not None else None
        if told is None:
            return self._tell(outcome.failed, request)
        return self._tell(outcome.failed, told.request, told.told)

    def _tell(self, failed: CallFailed, request: Any, told: Callable[[str], str] = str) -> wire.Answer:
        answer = self._teller.tell(failed, request, told)
        if answer.flags & wire.FLAG_MODEL_ERROR:
            self.failures.told(answer, failed.call.raised or failed.error)
        return answer

    def _tell_unsendable(self, unsendable: Unsendable, rows_in: int) -> wire.Answer:
        answer = telling.tell_unsendable(unsendable, rows_in, strict=self._strict)
        self.failures.told(answer, unsendable)
        return answer

    def _answer(self, call: Call, text: str | None, request: Any) -> wire.Answer:
        """The answer to a request that the model has answered in `call`."""
        if call.is_table and (rows_out := rows.count(call.raw)) is not None and rows_out < call.rows:
            return self._tell_fewer(call.raw, call.rows, rows_out)
        if text is not None:
            return wire.Answer(200, JSON, text.encode("utf-8", "surrogatepass"), call.rows)
        try:
            is_wrapped = call.is_table or type(request) is not dict or LLM_KEYS.isdisjoint(request)
            return wire.Answer(200, JSON, self._encoder.encode(call.raw, wrapped=is_wrapped), call.rows)
        except Unsendable as unsendable:
            return self._tell_unsendable(unsendable, call.rows)

    def _call(self, kind: str, body: bytes, request: Any, error: Exception | None) -> tuple[Call, str | None]:
        """(the call, the text of the answer if MLflow has written it); raises CallFailed."""
        if kind == media.JSON:
            return self._oracle.call(kind, body, request, error)
        try:
            frame = self._tables.parse(kind, body)
        except Exception as failure:
            raise CallFailed(Call(self._oracle.model), failure) from failure
        if frame is None:
            return self._oracle.call(kind, body, None, error)
        try:
            return self._oracle.score(frame), None
        except CallFailed as failed:
            if self._strict or not self._teller.is_callers(failed.call):
                raise
            return self._oracle.call(kind, body)  # what is refused all the same is refused in MLflow's words
