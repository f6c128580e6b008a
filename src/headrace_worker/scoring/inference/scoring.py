"""Inference requests of one model: which may share a predict call, what the model is given, how answers are told."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace_worker import wire
from headrace_worker.scoring import plan as plans
from headrace_worker.scoring import shapes
from headrace_worker.scoring.bodies.allowance import Allowance
from headrace_worker.scoring.compare import Judge
from headrace_worker.scoring.engine import Engine
from headrace_worker.scoring.errors.refusal import JSON, Refusal
from headrace_worker.scoring.evidence import Evidence
from headrace_worker.scoring.inference import inputs, outputs, requests
from headrace_worker.scoring.oracle import Call
from headrace_worker.scoring.output import Unsendable
from headrace_worker.scoring.predicting import stream_chunks
from headrace_worker.scoring.streaming import events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace_worker.scoring.bodies.extent import Bounds
    from headrace_worker.scoring.engine import Clock
    from headrace_worker.scoring.errors.failures import Failures
    from headrace_worker.scoring.errors.telling import Teller
    from headrace_worker.scoring.options import ScoringOptions
    from headrace_worker.scoring.oracle import Oracle
    from headrace_worker.scoring.output import Encoder
    from headrace_worker.scoring.shapes import Share


TENSORS = "tensors"
"""The form of a `Kind` of inference requests."""

MAX_KINDS = 256
MAX_MESSAGE = 2000


class Asked:
    """One request as a share has it: decoded, with what the answer is to say and to hold."""

    __slots__ = ("decoded", "model", "request")

    def __init__(self, request: requests.Request, decoded: inputs.Decoded, model: str) -> None:
        self.request = request
        self.decoded = decoded
        self.model = model


class Inference:
    """Answers inference requests with one model. `parse` makes JSON of bytes, within the limits, or None."""

    def __init__(
        self,
        oracle: Oracle,
        plan: plans.Plan,
        bounds: Bounds | None,
        encoder: Encoder,
        teller: Teller,
        failures: Failures,
        options: ScoringOptions,
        parse: Callable[[bytes], Any],
        evidence: Evidence,
    ) -> None:
        self._oracle = oracle
        self._teller = teller
        self._failures = failures
        self._options = options
        self._parse = parse
        self._inputs = inputs.Inputs(oracle, bounds)
        get_outputs = getattr(oracle.model.metadata, "get_output_schema", None)
        self._reader = outputs.Reader(get_outputs() if get_outputs is not None else None, encoder)
        self._of_all = evidence
        self._merges = plan.kind != plans.CLOSED and not oracle.is_type_hint
        self._kinds: dict[Any, shapes.Kind] = {}
        self._allowance = Allowance(MAX_KINDS)
        # Its own: what tensors show of a model holds for tensors, and must not cost other requests their company.
        self._engine = Engine(
            oracle,
            self,
            encoder,
            Evidence("merging is turned off (max_rows is 1)" if options.max_rows == 1 else None),
            max_rows=options.max_rows,
            tolerance=options.tolerance,
            finish=self._finish,
            fail=self._fail,
            table=self._reader.read,
            parts=self._reader.parts,
            judge=_judge,
        )

    def share(self, place: int, body: bytes, spoken: wire.Spoken) -> tuple[Any, Share]:
        """(the key of those that it may be merged with, the share); raises Refusal."""
        asked = self._asked(body, spoken)
        kind = self._kind(asked.request, asked.decoded)
        if kind is None:
            alone = shapes.Kind((TENSORS, TENSORS, (), ()), asked.request.params or None)
            return place, shapes.Share(alone, [asked], max(asked.decoded.rows, 1), place, body)
        return kind, shapes.Share(kind, [asked], asked.decoded.rows, place, body)

    def stream(self, body: bytes, spoken: wire.Spoken) -> Iterator[bytes] | wire.Answer:
        """Start a streamed answer, each chunk of which is a response; what cannot be asked is answered instead."""
        try:
            asked = self._asked(body, spoken)
        except Refusal as refusal:
            return tell(refusal)
        params = asked.request.params or None
        try:
            # Once a stream has begun there is no status left; and a check may change what it looks at.
            self._oracle.validate(inputs.together([asked.decoded]), params)
            data = inputs.together([asked.decoded])
        except Exception as error:  # noqa: BLE001 - MLflow's checks raise whatever pandas raises
            return _own(400, f"The input does not fit the model: {self._why(error)}", asked.decoded.rows)
        chunks = stream_chunks(self._oracle.model, data, params)
        return events(chunks, partial(self._part, asked), strict=self._options.strict)

    def _part(self, asked: Asked, chunk: Any) -> bytes:
        """The response for a chunk of a streamed answer, in JSON; raises Unsendable."""
        wanted = asked.request.outputs
        in_json = None if wanted is None else [one._replace(is_binary=False) for one in wanted]
        request = asked.request._replace(outputs=in_json, all_binary=False)
        told = {"model_name": asked.model, "model_version": self._options.version}
        try:
            return outputs.encode(told, request, self._reader.read(chunk), 0).body
        except Refusal as refusal:
            raise Unsendable(refusal.message) from None

    def _asked(self, body: bytes, spoken: wire.Spoken) -> Asked:
        """The request that a body holds; raises Refusal."""
        size = len(body) if spoken.header_bytes is None else spoken.header_bytes
        if size > len(body):
            raise requests.refused(f"Inference-Header-Content-Length says {size}; the body has {len(body)} bytes.")
        document = self._parse(body[:size])
        if document is None:
            raise requests.refused("The body is not valid JSON.")
        request = requests.read(document, memoryview(body)[size:])
        decoded = self._inputs.decode(request)
        return Asked(request, decoded, spoken.model)

    def score(self, shares: list[Share], answers: list[Any], clock: Clock) -> None:
        """Answer shares of one key; should the engine fail on what a model made, each is tried by itself."""
        self._engine.score_or_else(shares, answers, clock, lambda share: self._score_alone(share, answers, clock))

    def _score_alone(self, share: Share, answers: list[Any], clock: Clock) -> wire.Answer:
        try:
            self._engine.score([share], answers, clock)
        except Exception as error:  # noqa: BLE001 - whatever a model's objects raise while they are looked at
            answer = _own(500, f"The request cannot be scored: {error}", share.rows, failed=True)
            self._failures.told(answer, error)
            return answer
        alone: wire.Answer = answers[share.place]
        return alone

    def build(self, _kind: shapes.Kind, value: list[Asked]) -> tuple[Any, bool]:
        """What the engine asks of a `Builder`."""
        return inputs.together([one.decoded for one in value]), False

    def _kind(self, request: requests.Request, decoded: inputs.Decoded) -> shapes.Kind | None:
        """What all requests that may share a call with this one have in common; None: there are none."""
        columns = decoded.columns
        if (
            not self._merges
            or self._of_all.unmergeable is not None
            or decoded.rows < 1
            or any(one.key is None or getattr(one.values, "ndim", 1) == 0 for one in columns)
        ):
            return None
        names = tuple(one.name for one in columns)
        shape = (TENSORS, TENSORS, (decoded.form, *names), tuple(one.key for one in columns))
        key = (*shape, json.dumps(request.params, sort_keys=True) if request.params else "")
        kind = self._kinds.get(key)
        if kind is None:
            if not self._allowance.take(key):
                return None
            kind = self._kinds[key] = shapes.Kind(shape, request.params or None)
        return kind

    def _finish(self, raw: Any, share: Share) -> wire.Answer:
        asked: Asked = share.data[0]
        told = {"model_name": asked.model, "model_version": self._options.version}
        try:
            return outputs.encode(told, asked.request, self._reader.read(raw), share.rows)
        except Refusal as refusal:
            return tell(refusal)
        except Exception as error:  # noqa: BLE001 - whatever a model's objects raise while they are read
            answer = _own(500, f"The model's answer has no form that can be sent: {error}", share.rows, failed=True)
            self._failures.told(answer, error)
            return answer

    def _fail(self, share: Share, error: Exception, predicting: bool) -> wire.Answer:  # noqa: FBT001 - the engine's
        if isinstance(error, Refusal):
            return tell(error)
        if predicting and not self._is_callers(share, error):
            text = str(getattr(error, "message", error))
            told = f"The model raised {type(error).__name__}"
            answer = _own(500, told if self._options.strict else f"{told}: {text}", share.rows, failed=True)
            self._failures.told(answer, error)
            return answer
        return _own(400, f"The input does not fit the model: {self._why(error)}", share.rows)

    def _why(self, error: Exception) -> str:
        """What is wrong with an input, without MLflow's repetition of it; nothing of it where errors are strict."""
        text = str(getattr(error, "message", error))
        _, found, why = text.rpartition(". Error: ")
        return why if found else "it is not what the signature says." if self._options.strict else text

    def _is_callers(self, share: Share, error: Exception) -> bool:
        """Whether checking the input raised it, before the model ran."""
        call = Call(self._oracle.model, error)
        try:
            call.data, _ = self.build(share.kind, share.data)
        except Exception:  # noqa: BLE001 - it was built before
            return False
        call.params = share.kind.params
        return self._teller.is_callers(call)


def tell(refusal: Refusal) -> wire.Answer:
    """The answer to a request that was refused, in the protocol's form."""
    return _own(refusal.status, f"{refusal.path}: {refusal.message}" if refusal.path else refusal.message, 0)


def in_form(answer: wire.Answer) -> wire.Answer:
    """An error of MLflow's form, in the protocol's."""
    try:
        told = json.loads(answer.body)
        if "error" in told:
            return answer
        message = told["message"]
    except (ValueError, KeyError, TypeError):
        message = bytes(answer.body).decode("utf-8", "replace")
    flags = answer.flags & ~wire.FLAG_ERROR_OBJECT
    return answer._replace(content_type=JSON, body=json.dumps({"error": message}).encode(), flags=flags)


def _own(status: int, message: str, rows: int, *, failed: bool = False) -> wire.Answer:
    body = json.dumps({"error": message[:MAX_MESSAGE]}).encode()
    return wire.Answer(status, JSON, body, rows, wire.FLAG_MODEL_ERROR if failed else 0)


def _judge(tolerance: float | str, together: list[wire.Answer]) -> Judge:
    return Judge(tolerance, together, _rows_of)


def _rows_of(answer: wire.Answer) -> Any:
    """The outputs of a response as `Judge` compares them: rows by name and type. Raises ValueError for no JSON."""
    told, json_bytes = wire.split_type(answer.content_type)
    body = answer.body
    document = json.loads(body[: int(json_bytes)] if told == wire.OCTETS and json_bytes else body)
    if answer.status != 200:
        return document
    at = int(json_bytes or 0)
    found: dict[str, list[Any]] = {}
    for one in document["outputs"]:
        size = one["parameters"].get("binary_data_size")
        data = one.get("data")
        if size is not None:
            data = outputs.unpacked(one["datatype"], body[at : at + size])
            at += size
        number = max(one["shape"][0], 1)
        width = len(data) // number
        rows = [data[i * width : (i + 1) * width] for i in range(number)]
        found[f"{one['name']} {one['datatype']} {one['shape'][1:]}"] = rows
    return {"predictions": found}
