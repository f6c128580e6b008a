"""One loaded model: answers batches of requests."""

from __future__ import annotations

import copy
import json
import logging
import platform
from typing import TYPE_CHECKING, Any

from headrace_worker import wire
from headrace_worker.scoring import compiled
from headrace_worker.scoring import plan as plans
from headrace_worker.scoring.bodies import extent, extent_files, jsonbody, media
from headrace_worker.scoring.bodies.inflate import inflate
from headrace_worker.scoring.building import Builder
from headrace_worker.scoring.dialect import errors
from headrace_worker.scoring.dialect.requests import Asked
from headrace_worker.scoring.dialect.scoring import Dialect
from headrace_worker.scoring.engine import Clock, Engine
from headrace_worker.scoring.errors import telling
from headrace_worker.scoring.errors import type_hints as hints
from headrace_worker.scoring.errors.refusal import Refusal
from headrace_worker.scoring.evidence import Evidence
from headrace_worker.scoring.example import read_example
from headrace_worker.scoring.inference.scoring import TENSORS, Inference, in_form
from headrace_worker.scoring.options import COMPILE_OFF
from headrace_worker.scoring.oracle import Call, CallFailed, Oracle
from headrace_worker.scoring.output import Encoder
from headrace_worker.scoring.predicting import stream_chunks
from headrace_worker.scoring.reference import Reference
from headrace_worker.scoring.repairing.second_try import SecondTry
from headrace_worker.scoring.shapes import Classifier, Share
from headrace_worker.scoring.streaming import events, streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace_worker.scoring.options import ScoringOptions

MAX_KNOWN_HEADS = 1024
MAX_KNOWN_HEAD_BYTES = 1024
MAX_MERGED_BYTES = 256 * 1024

_logger = logging.getLogger(__name__)
_TOO_LARGE = Refusal(500, "INTERNAL_ERROR", "The worker has not enough memory to read this request.")

_scan: Callable[[str, int], tuple[Any, int]] = vars(json.JSONDecoder())["scan_once"]


class _Misfit(Exception):
    """Checking the input of a stream raised `error`."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Scorer:
    """Scores requests with one model. Of several threads one at a time may be in here, but for `predict` (turns.py)."""

    def __init__(self, model: Any, path: str, options: ScoringOptions) -> None:
        self.model = model
        self.path = path
        self.options = options
        # Before anything else has a hold of the model's predict function.
        self.compiled = None if options.compile == COMPILE_OFF else compiled.install(model, path)
        self.oracle = Oracle(model)
        self.encoder = Encoder()
        self.evidence = Evidence("merging is turned off (max_rows is 1)" if options.max_rows == 1 else None)
        closed = self.oracle.is_type_hint or self.oracle.unenforced is None
        takes_elements = self.oracle.is_type_hint and hints.takes_list(model)
        self.plan = plans.make_plan(self.oracle.input_schema, closed=closed, takes_elements=takes_elements)
        if self.plan.kind == plans.CLOSED:
            self.evidence.refuse("the model's input is not a table of any number of rows")
        self.classifier = Classifier(self.plan)
        # What is made of a type hint's input is no table.
        self._bounds = None if self.oracle.is_type_hint else extent.Bounds(self.oracle.input_schema)
        self._teller = telling.Teller(self.oracle, self.plan, strict=options.strict)
        self.second_try = SecondTry(self.oracle, self.plan, self._teller, self._parse)
        self._reference = Reference(
            self.oracle, self.plan, self.encoder, self.second_try, self._teller, self._parse, strict=options.strict
        )
        self._engine = Engine(
            self.oracle,
            Builder(self.oracle, self.plan),
            self.encoder,
            self.evidence,
            max_rows=options.max_rows,
            tolerance=options.tolerance,
            finish=self._reference.finish,
            fail=self._reference.fail,
        )
        self._inference = Inference(
            self.oracle,
            self.plan,
            self._bounds,
            self.encoder,
            self._teller,
            self._reference.failures,
            options,
            self._parse,
            self.evidence,
        )
        self._dialect = Dialect(self.oracle, self.encoder, self._teller, self._reference.failures, options)
        self._streams = streams(model)
        self._heads: dict[bytes, media.Media | Refusal] = {}
        # Bodies up to here have no integer that is too long.
        self._short = options.max_integer_digits

    def score(
        self, heads: list[bytes], head_index: bytes, bodies: list[memoryview]
    ) -> tuple[list[wire.Answer], wire.Timing, bytes]:
        """One answer for each body, in order; raises nothing for what a client or the model does."""
        read = [self._read_head(head) for head in heads]
        clock = Clock()
        answers: list[Any] = [None] * len(bodies)
        groups: dict[Any, list[Share]] = {}
        apart: list[tuple[int, media.Media, bytes, Any]] = []
        asked: dict[int, Asked] = {}
        text_kinds, short, deepest = self.classifier.text_kinds, self._short, self.options.max_nesting
        plain = [isinstance(head, media.Media) and head.is_plain_json for head in read]
        for place, body in enumerate(bodies):
            request = None
            if plain[head_index[place]] and len(body) <= short:
                # The usual request, held to the same rules as any other (in `_sort`), in as few steps as can be.
                text = ""
                end = -1
                try:
                    text = str(body, "utf-8")
                    if len(text) <= deepest or text.count("[") + text.count("{") <= deepest:
                        request, end = _scan(text, 0)
                except (ValueError, StopIteration, RecursionError):
                    pass
                if end != len(text) or request.__class__ is not dict:
                    request = None
                elif len(request) == 1:
                    ((name, value),) = request.items()
                    kind = text_kinds.get(name)
                    if kind is not None and value.__class__ is list and len(value) == 1 and value[0].__class__ is str:
                        share = Share(kind, value, 1, place, body)
                        if kind in groups:
                            groups[kind].append(share)
                        else:
                            groups[kind] = [share]
                        continue
            try:
                self._sort(place, read[head_index[place]], body, request, groups, apart, asked)
            except Refusal as refusal:
                answers[place] = telling.tell_refusal(refusal, strict=self.options.strict)
            except MemoryError:
                answers[place] = telling.tell_refusal(_TOO_LARGE, strict=self.options.strict)
        clock.lap("parse")
        for members in groups.values():
            if members[0].kind.form == TENSORS:
                self._inference.score(members, answers, clock)
            else:
                # Should the engine fail on what a model made, each request goes MLflow's way.
                self._engine.score_or_else(members, answers, clock, self._reference.anew)
        for place, head, whole, request in apart:
            clock.predicts += 1
            if isinstance(request, Asked):
                answers[place] = self._dialect.answer(request)
            else:
                answers[place] = self._reference.score(head, whole, request)
            clock.lap("predict")
        self._reference.failures.settle(answers)
        if not all(plain):
            self._put_in_form(read, head_index, answers, asked)
        return answers, clock.timing(), self._notes()

    def _put_in_form(
        self, read: list[media.Media | Refusal], head_index: bytes, answers: list[Any], asked: dict[int, Asked]
    ) -> None:
        """Errors have the form of the protocol that their request speaks, and in OpenAI's dialect all answers."""
        for place, index in enumerate(head_index):
            head = read[index]
            if not isinstance(head, media.Media) or head.spoken is None:
                continue
            if head.is_dialect:
                answers[place] = self._dialect.tell(asked.get(place), answers[place])
            elif answers[place].status >= 400:
                answers[place] = in_form(answers[place])

    def _sort(
        self,
        place: int,
        head: media.Media | Refusal,
        body: memoryview,
        request: dict[str, Any] | None,
        groups: dict[Any, list[Share]],
        apart: list[tuple[int, media.Media, bytes, Any]],
        asked: dict[int, Asked],
    ) -> None:
        """Put one body with those it may be merged with, or apart; `request` is what it holds, if that is known."""
        if isinstance(head, Refusal):
            raise head
        whole: bytes | memoryview = body
        if request is None:
            whole = inflate(bytes(body), head.codings, self.options.max_inflated_bytes)
            if head.kind == media.TENSORS and head.spoken is not None:
                like, one = self._inference.share(place, whole, head.spoken)
                groups.setdefault(like, []).append(one)
                return
            request = self._parse(whole) if head.kind == media.JSON else None
            if head.is_dialect and head.spoken is not None:
                said = asked[place] = self._dialect.read(head.spoken, request)
                request = self._dialect.rows(said)
                if request is None:
                    apart.append((place, head, b"", said))
                    return
                whole = json.dumps(request).encode()
        share = self.classifier.share(request, place, whole) if type(request) is dict else None
        if head.kind == media.CSV and len(whole) <= MAX_MERGED_BYTES:
            share = self.classifier.csv_share(place, whole)
        self._check_extent(head.kind, whole, request, share)
        if share is not None:
            # A large one is not put together with others: in a list of texts all would get the room of its longest.
            key: Any = share.kind if len(whole) <= MAX_MERGED_BYTES else place
            groups.setdefault(key, []).append(share)
        else:
            apart.append((place, head, bytes(whole), request))

    def _check_extent(self, kind: str, body: bytes | memoryview, request: Any, share: Share | None) -> None:
        """Raise Refusal for a request that would become out of all proportion to its size."""
        if self._bounds is None:
            return
        if kind != media.JSON:
            extent_files.check(kind, bytes(body), self._bounds)
        elif len(body) > extent.SMALL and type(request) is dict:
            self._bounds.check(request, share)

    def _parse(self, body: bytes) -> Any:
        """The parsed body, None if it is not JSON; raises Refusal beyond the limits."""
        try:
            return jsonbody.parse(
                body,
                decode_first=self.oracle.decodes_first,
                max_nesting=self.options.max_nesting,
                max_integer_digits=self.options.max_integer_digits,
            )
        except jsonbody.NotJson:
            return None

    def _read_head(self, head: bytes) -> media.Media | Refusal:
        known = self._heads.get(head)
        if known is None:
            try:
                known = media.read_head(head, self.oracle.content_types, self.oracle.protocol_change)
            except Refusal as refusal:
                known = refusal
            if len(self._heads) >= MAX_KNOWN_HEADS:
                self._heads.clear()
            if len(head) <= MAX_KNOWN_HEAD_BYTES:
                self._heads[head] = known
        return known

    def _notes(self) -> bytes:
        """What the gateway should hear about, as JSON; empty almost always. Hazards are counted in requests."""
        failures = self._reference.failures.take()
        if self.evidence.news is None and not self._reference.hazards and not failures:
            return b""
        notes: dict[str, Any] = {}
        if self.evidence.news is not None:
            _logger.warning("such requests are scored one by one from now on: %s", self.evidence.news)
            notes["unmergeable"], self.evidence.news = self.evidence.news, None
            notes["mergeable"] = self.evidence.unmergeable is None
        if self._reference.hazards:
            notes["hazards"] = dict(self._reference.hazards)
            self._reference.hazards.clear()
        if failures:
            notes["failures"] = failures
        return json.dumps(notes).encode()

    def wants_stream(self, head: bytes, body: memoryview) -> bool:  # noqa: ARG002 - the body may come to matter
        """Whether this request asks for server-sent events and the model can give them."""
        read = self._read_head(head)
        if not isinstance(read, media.Media) or not read.wants_stream or not self._streams:
            return False
        if read.is_dialect and read.spoken is not None:
            return self._dialect.streams(read.spoken)
        return read.kind in (media.JSON, media.TENSORS)

    def stream(self, head: bytes, body: memoryview) -> Iterator[bytes] | wire.Answer:
        """Start a streamed answer; a request that cannot be parsed is answered instead."""
        read = self._read_head(head)
        if isinstance(read, Refusal):
            return telling.tell_refusal(read, strict=self.options.strict)
        request: Any = None
        whole = b""
        try:
            whole = inflate(bytes(body), read.codings, self.options.max_inflated_bytes)
            if read.kind == media.TENSORS and read.spoken is not None:
                return self._inference.stream(whole, read.spoken)
            request = self._parse(whole)
            if read.is_dialect and read.spoken is not None:
                return self._dialect.stream(self._dialect.read(read.spoken, request))
            self._check_extent(read.kind, whole, request, None)
            model, data, params = self._stream_input(whole)
        except Refusal as refusal:
            return (
                errors.tell(refusal) if read.is_dialect else telling.tell_refusal(refusal, strict=self.options.strict)
            )
        except _Misfit as misfit:
            return self._reference.by_reference(media.JSON, whole, request, misfit.error)
        except Exception as error:  # noqa: BLE001 - MLflow's parser raises whatever pandas raises
            return self._teller.tell(CallFailed(Call(self.model), error), request)
        chunks = stream_chunks(model, data, params)
        return events(chunks, lambda c: self.encoder.encode(c, wrapped=False), strict=self.options.strict)

    def _stream_input(self, body: bytes) -> tuple[Any, Any, Any]:
        """(the model, data, params) to stream with; raises what MLflow's parser raises, and _Misfit."""
        try:
            return (self.model, *self._fitting(body))
        except Exception:
            found = self.second_try.repaired(body)
            if found is None:
                raise
            try:
                if not found.nulls:
                    return (self.model, *self._fitting(found.request))
                data, params = self.second_try.parsed(found)
                return self.oracle.unenforced, self.oracle.with_nulls(data, found.nulls), params
            except Exception:  # noqa: BLE001, S110 - it is told of the request as it was sent
                pass
            raise

    def _fitting(self, payload: bytes | dict[str, Any]) -> tuple[Any, Any]:
        """(data, params) of a request that fits; once a stream has begun there is no status left to say otherwise."""
        data, params = self.oracle.parse_json(copy.deepcopy(payload))  # for this alone: a check may change its argument
        try:
            self.oracle.validate(data, params)
        except Exception as error:
            raise _Misfit(error) from error
        return self.oracle.parse_json(payload)

    def warm_up(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Score the model's own example once and see whether its rows can be merged (warmup.py).

        Returns a report, and what the model raised on its example (`errors.failures`).
        """
        from headrace_worker.scoring.warmup import warm_up

        return warm_up(self)

    def facts(self) -> dict[str, Any]:
        """What is known about the loaded model, as JSON-able data."""
        import mlflow

        metadata = self.model.metadata
        signature = metadata.signature.to_dict() if metadata.signature is not None else None
        return {
            "mlflow_version": mlflow.__version__,
            "python_version": platform.python_version(),
            "loader_module": metadata.flavors.get("python_function", {}).get("loader_module"),
            "signature": signature,
            "type_hint": self.oracle.is_type_hint,
            "streams": self._streams,
            "speaks": list(self._dialect.speaks),
            "mergeable": self.evidence.unmergeable is None,
            "unmergeable_reason": self.evidence.unmergeable,
            # The servers before that, of the Flask generation, have one call at a time in a process.
            "threads": not self.oracle.decodes_first,
            "has_example": read_example(self.path, metadata) is not None,
            "compiled": self.compiled.told() if self.compiled is not None else None,
        }
