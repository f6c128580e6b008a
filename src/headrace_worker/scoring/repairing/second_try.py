"""What MLflow has refused by an accident, asked once more in the form that it takes (repair.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from headrace_worker.scoring import shapes
from headrace_worker.scoring.bodies import media
from headrace_worker.scoring.errors import locate
from headrace_worker.scoring.errors import type_hints as hints
from headrace_worker.scoring.oracle import Call, CallFailed
from headrace_worker.scoring.repairing import repair, repair_tables

if TYPE_CHECKING:
    from headrace_worker.scoring.errors.telling import Teller
    from headrace_worker.scoring.oracle import Oracle
    from headrace_worker.scoring.plan import Plan


class Outcome(NamedTuple):
    """How the second try ended: `call` and the `text` of the answer, if MLflow has written it, or how it `failed`.

    `is_refused`: MLflow refuses the repaired input as well, so that there is nothing to choose between the two.
    """

    repaired: repair.Repaired | None
    call: Call | None = None
    text: str | None = None
    failed: CallFailed | None = None
    is_refused: bool = False


class SecondTry:
    """Repairs refused requests of one model. `parse` makes the JSON of a body anew: MLflow changes what it refuses."""

    def __init__(self, oracle: Oracle, plan: Plan, teller: Teller, parse: Callable[[bytes], Any]) -> None:
        self._oracle = oracle
        self._plan = plan
        self._teller = teller
        self._parse = parse
        self._hint: Any = None
        self._has_hint = False
        inputs = () if oracle.input_schema is None or oracle.is_type_hint else oracle.input_schema.inputs
        self._integers = {spec.name for spec in inputs if type(repair.null_of(spec)) is int}

    def score(self, kind: str, body: bytes, request: Any, failed: CallFailed) -> Outcome | None:
        """Ask once more for `body`, which ended in `failed`; None where it was not refused or cannot be repaired.

        `request` is the body's JSON as it was before MLflow saw it, but for what MLflow changes inside of it.
        """
        if kind != media.JSON:
            return self._score_table(kind, body, failed)
        outcome = self._score_in_utc(request, failed)
        if outcome is not None:
            return outcome
        found = self.repaired(body)
        if found is None or not self._was_refused(failed):
            return None
        if not found.nulls:
            return self._outcome(found, lambda: self._oracle.call(media.JSON, body, found.request))
        return self._with_nulls(found)

    def foresee(self, body: bytes) -> Outcome | None:
        """Ask for a repaired JSON body whose like every MLflow refuses; None where that is not sure, or did not help.

        A null in a column of integers is refused by all: pandas makes it a NaN, and that is no integer.
        """
        if not self._integers or b"null" not in body:
            return None
        found = self.repaired(body)
        if found is None or self._integers.isdisjoint(found.nulls):
            return None
        outcome = self._with_nulls(found)
        return None if outcome.is_refused else outcome

    def _with_nulls(self, found: repair.Repaired) -> Outcome:
        try:
            data, params = self.parsed(found)
        except Exception as failure:  # noqa: BLE001 - MLflow's parser raises whatever pandas raises
            return Outcome(found, failed=CallFailed(Call(self._oracle.model), failure), is_refused=True)
        return self._outcome(found, lambda: (self._oracle.score_with_nulls(data, params, found.nulls), None))

    def repaired(self, body: bytes, *, as_json: bool = False) -> repair.Repaired | None:
        """The repaired request of a JSON body, None where there is none, or where it would lose a value.

        `as_json`: only with values that JSON has, for whoever tells of it.
        """
        oracle = self._oracle
        try:
            request = self._parse(body)
            if oracle.is_type_hint:
                return hints.repaired(request, self._read_hint(), oracle.params_schema)
            found = repair.repaired(request, oracle.input_schema, oracle.params_schema, as_json=as_json)
        except RecursionError:
            return None
        if found is None or (found.nulls and oracle.unenforced is None):
            return None
        is_lossy = self._plan.has_hazards and any(locate.hazards(found.request, self._plan))
        return None if is_lossy else found

    def parsed(self, found: repair.Repaired) -> tuple[Any, Any]:
        """(data, params) of a repaired request with nulls, which is always in one of the four formats."""
        name = next(name for name in shapes.FORMATS if name in found.request)
        return self._oracle.parse_value(name, found.request[name]), found.request.get("params")

    def _score_in_utc(self, request: Any, failed: CallFailed) -> Outcome | None:
        """The usual date with a zone, without parsing anything again; None where that is not all there is to repair."""
        oracle, call = self._oracle, failed.call
        if call.raised is None or not hasattr(call.data, "assign") or type(request) is not dict:
            return None
        frame = None
        if oracle.input_schema is not None:
            frame = repair_tables.with_utc(call.data, request, oracle.input_schema)
        if frame is None or not self._was_refused(failed):
            return None
        outcome = self._outcome(None, lambda: (oracle.score(frame, call.params), None))
        return None if outcome.is_refused else outcome

    def _read_hint(self) -> Any:
        if not self._has_hint:
            self._hint, self._has_hint = hints.read_hint(self._oracle.model), True
        return self._hint

    def _was_refused(self, failed: CallFailed) -> bool:
        """Whether it was the input that was refused, and not the model that failed on it."""
        call = failed.call
        if call.raised is None or self._teller.is_callers(call):
            return True
        return self._oracle.is_type_hint and hints.refuses(self._read_hint(), call.data)

    def _score_table(self, kind: str, body: bytes, failed: CallFailed) -> Outcome | None:
        oracle = self._oracle
        if not self._was_refused(failed):
            return None
        try:
            found = repair_tables.repaired(oracle, kind, body)
        except Exception:  # noqa: BLE001 - what pandas cannot read is refused in MLflow's words
            return None
        if found is None or (found.nulls and oracle.unenforced is None):
            return None
        if found.nulls:
            return self._outcome(None, lambda: (oracle.score_with_nulls(found.frame, None, found.nulls), None))
        return self._outcome(None, lambda: (oracle.score(found.frame), None))

    def _outcome(self, found: repair.Repaired | None, ask: Callable[[], tuple[Call, str | None]]) -> Outcome:
        try:
            call, text = ask()
        except CallFailed as failed:
            if failed.call.predicted:  # the model's answer has no form that MLflow knows
                return Outcome(found, failed.call)
            return Outcome(found, failed=failed, is_refused=self._was_refused(failed))
        return Outcome(found, call, text)
