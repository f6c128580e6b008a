"""Requests in OpenAI's dialect for one model: what it is asked, and how its answers are told.

A conversation is one call of the model. Texts to embed or to complete become rows of a request as ``/invocations`` has
it, so that they share calls with others.
"""

from __future__ import annotations

import copy
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from headrace_worker import wire
from headrace_worker.scoring.dialect import errors, events, fitting, forms, replies, requests
from headrace_worker.scoring.errors.refusal import JSON, Refusal
from headrace_worker.scoring.oracle import Call
from headrace_worker.scoring.output import Unsendable
from headrace_worker.scoring.predicting import guarded_predict, stream_chunks
from headrace_worker.scoring.streaming import ToldInStream, streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace_worker.scoring.dialect.requests import Asked
    from headrace_worker.scoring.errors.failures import Failures
    from headrace_worker.scoring.errors.telling import Teller
    from headrace_worker.scoring.options import ScoringOptions
    from headrace_worker.scoring.oracle import Oracle
    from headrace_worker.scoring.output import Encoder

EVENT_STREAM = b"text/event-stream"
_TALKS = (forms.CHAT, forms.RESPONSES)


class Dialect:
    """See the module's docstring. `speaks` are the kinds of request that the model answers."""

    def __init__(
        self, oracle: Oracle, encoder: Encoder, teller: Teller, failures: Failures, options: ScoringOptions
    ) -> None:
        self._oracle = oracle
        self._encoder = encoder
        self._teller = teller
        self._failures = failures
        self._options = options
        self._forms = forms.find(oracle.model)
        self.speaks = tuple(kind for kind in forms.PATHS if kind in self._forms)
        # MLflow's agents take a dict, and check it by themselves: what a signature cannot say (a tool's parameters)
        # comes through, and a request that does not fit is told from a failure.
        self._convert: Callable[[dict[str, Any]], Any] | None = getattr(
            getattr(oracle.model, "_model_impl", None), "_convert_input", None
        )
        self._streams = streams(oracle.model) and not _has_only_the_base(oracle.model)

    def read(self, spoken: wire.Spoken, document: Any) -> Asked:
        """Check a request's parsed body, None for what is no JSON; raises Refusal."""
        kind = spoken.protocol.partition("/")[2]
        if kind not in self._forms:
            raise Refusal(404, "unsupported", self._instead(kind, spoken.model))
        if document is None:
            raise requests.refused("The body is not valid JSON.")
        return requests.read(kind, spoken.model, document)

    def _instead(self, kind: str, model: str) -> str:
        there = [*(forms.PATHS[one] for one in self.speaks), "/invocations"]
        return (
            f"Model '{model}' does not answer {forms.PATHS.get(kind, kind)}; it answers {', '.join(there)}. "
            "What a model speaks follows from its flavor, task and signature."
        )

    def streams(self, spoken: wire.Spoken) -> bool:
        """Whether the model can give this kind of answer in pieces."""
        kind = spoken.protocol.partition("/")[2]
        return self._streams and kind in _TALKS and kind in self._forms

    # Texts, which become rows.

    def rows(self, asked: Asked) -> dict[str, Any] | None:
        """The request as ``/invocations`` has it; None: the model is given it whole. Raises Refusal."""
        form = self._forms[asked.kind]
        if asked.kind in _TALKS or form.shape != forms.TEXTS:
            return None
        given = dict(asked.document)
        if asked.kind == forms.EMBEDDINGS and "dimensions" in given and "dimensions" not in form.params:
            raise requests.refused("This model's vectors have one length; leave it out.", "dimensions")
        if "max_new_tokens" in form.params and "max_tokens" in given:
            given["max_new_tokens"] = given.pop("max_tokens")
        params = {name: value for name, value in given.items() if name in form.params}
        texts = given["input" if asked.kind == forms.EMBEDDINGS else "prompt"]
        body = {"inputs" if self._oracle.is_type_hint else "instances": texts}
        return {**body, "params": params} if params else body

    def tell(self, asked: Asked | None, answer: wire.Answer) -> wire.Answer:
        """The dialect's form of an answer as ``/invocations`` has it; `asked` None: the request was refused."""
        if answer.status >= 400:
            return errors.in_form(answer)
        if asked is None or asked.kind in _TALKS or self._forms[asked.kind].shape != forms.TEXTS:
            return answer
        document = json.loads(answer.body)
        raw = document["predictions"] if type(document) is dict and "predictions" in document else document
        return self._finish(asked, raw, answer.rows)

    # Conversations, and what else a model is given whole.

    def answer(self, asked: Asked) -> wire.Answer:
        """Have the model answer; raises nothing for what a client or the model does."""
        try:
            model, data, params = self._input(asked)
        except Refusal as refusal:
            return errors.tell(refusal)
        except Exception as error:  # noqa: BLE001 - MLflow's parser raises whatever pandas raises
            return errors.answer(400, f"The request does not fit the model: {_text(error)}", code="invalid_value")
        try:
            raw = guarded_predict(model, data, params)
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            return self._failed(asked, error)
        return self._finish(asked, raw, 1)

    def stream(self, asked: Asked) -> Iterator[bytes] | wire.Answer:
        """Start a streamed answer; a request that does not fit is answered instead."""
        try:
            model, data, params = self._input(asked)
            if self._convert is None:
                self._oracle.validate(copy.deepcopy(data), params)
        except Refusal as refusal:
            return errors.tell(refusal)
        except Exception as error:  # noqa: BLE001 - as above
            return errors.answer(400, f"The request does not fit the model: {_text(error)}", code="invalid_value")
        chunks = map(self._plain, stream_chunks(model, data, params))
        maker = events.make(asked, self._about(asked))
        return events.events(asked.kind, maker, chunks, self._encode, strict=self._options.strict)

    def _input(self, asked: Asked) -> tuple[Any, Any, Any]:
        """(the model, data, params) to predict with; raises Refusal and what MLflow's parser raises."""
        form = self._forms[asked.kind]
        model = self._oracle.model
        if form.shape == forms.TEXTS:
            name = "inputs" if self._oracle.is_type_hint else "instances"
            return (model, *self._parsed({name: [fitting.last_text(asked)]}))
        if asked.kind not in _TALKS:
            return (model, *self._parsed(fitting.in_place(asked.document, form)))
        body = fitting.conversation(asked, form)
        if form.shape == forms.LISTED:
            return (model, *self._parsed({"inputs": [body]}))
        if form.shape == forms.MESSAGES:
            return (model, *self._parsed({"inputs": body["messages"]}))
        if self._convert is None:
            return (model, *self._parsed(body))
        return self._oracle.unenforced or model, self._checked(self._convert, body, asked), None

    def _checked(self, convert: Callable[..., Any], body: dict[str, Any], asked: Asked) -> dict[str, Any]:
        """What an agent takes, whose `convert` checks it; raises Refusal with what it has against the request."""
        try:
            convert(copy.deepcopy(body))
        except Exception as error:
            tools = body.pop("tools", None) if self._forms[asked.kind].speaks == forms.CHAT else None
            if tools is None:
                raise _misfit(error) from error
            # Their parameters say what MLflow's classes for them cannot: the agent may still read them.
            custom = {"tools": asked.document["tools"], **body.get(fitting.CUSTOM, {})}
            return self._checked(convert, {**body, fitting.CUSTOM: custom}, asked)
        return body

    def _parsed(self, body: dict[str, Any]) -> tuple[Any, Any]:
        if hasattr(self._oracle.server, "_parse_json_data"):
            return self._oracle.parse_json(body)
        (name, value), *others = body.items()  # of an MLflow that knows no other members than these
        return (body, None) if others or name not in {"inputs", "instances"} else (value, None)

    def _finish(self, asked: Asked, raw: Any, rows: int) -> wire.Answer:
        about = self._about(asked)
        try:
            raw = self._plain(raw)
            told = _told(asked, raw, about)
            if not asked.stream:
                return wire.Answer(200, JSON, self._encode(told), rows)
            if asked.kind == forms.COMPLETIONS:
                body = events.whole_completion(told, self._encode)
            else:
                whole = {"type": "response.completed", "response": told} if asked.kind == forms.RESPONSES else told
                maker = events.make(asked, about)
                body = b"".join(events.events(asked.kind, maker, iter((whole,)), self._encode, strict=True))
            return wire.Answer(200, EVENT_STREAM, body, rows)
        except (replies.Odd, Unsendable, ToldInStream) as error:
            answer = errors.failed(str(error.__cause__ if isinstance(error, ToldInStream) else error), rows)
            self._failures.told(answer, error)
            return answer

    def _failed(self, asked: Asked, error: Exception) -> wire.Answer:
        if self._convert is None and self._is_callers(asked, error):
            return errors.answer(
                400, f"The request does not fit the model: {_text(error)}", code="invalid_value", rows=1
            )
        told = f"The model raised {type(error).__name__}"
        answer = errors.failed(told if self._options.strict else f"{told}: {_text(error)}", 1)
        self._failures.told(answer, error)
        return answer

    def _is_callers(self, asked: Asked, error: Exception) -> bool:
        """Whether checking the input raised it, before the model ran."""
        call = Call(self._oracle.model, error)
        _, call.data, call.params = self._input(asked)
        return self._teller.is_callers(call)

    def _about(self, asked: Asked) -> replies.Told:
        return replies.Told(uuid.uuid4().hex, asked.model, int(time.time()))

    def _encode(self, value: Any) -> bytes:
        return self._encoder.encode(value, wrapped=False)

    def _plain(self, raw: Any) -> Any:
        """What the model has answered, of JSON's types at the top; raises Unsendable."""
        if hasattr(raw, "model_dump"):
            return raw.model_dump(exclude_none=True)
        return raw if type(raw) in (dict, str) else json.loads(self._encode(raw))


def _told(asked: Asked, raw: Any, about: replies.Told) -> dict[str, Any]:
    if asked.kind == forms.CHAT:
        return replies.completion(raw, about)
    if asked.kind == forms.RESPONSES:
        return replies.response(raw, about)
    if asked.kind == forms.EMBEDDINGS:
        return replies.embeddings(raw, len(asked.document["input"]), about, in_base64=asked.in_base64)
    return replies.text_completion(raw, len(asked.document["prompt"]), about)


def _misfit(error: Exception) -> Refusal:
    """What an agent has against a request; pydantic says where."""
    told = getattr(error, "errors", None)
    first = (told() or [{}])[0] if callable(told) else {}
    path = ".".join(map(str, first.get("loc", ())))
    return requests.refused(str(first.get("msg") or _text(error)), path)


def _text(error: Exception) -> str:
    return str(getattr(error, "message", error))


def _has_only_the_base(model: Any) -> bool:
    """Whether an agent leaves `predict_stream` to MLflow's class, which has none."""
    get = getattr(getattr(model, "_model_impl", None), "get_raw_model", None)
    own = getattr(type(get()), "predict_stream", None) if get is not None else None
    return str(getattr(own, "__module__", "")).startswith("mlflow.pyfunc.")
