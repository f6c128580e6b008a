"""``POST /feedback``: an assessment of an answer is sent to its trace in MLflow, through the recorder.

Answered is when MLflow has it. The gateway waits for that beside everything else, and never for longer than `WAIT_S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from headrace.core.protocol import framing
from headrace.core.protocol.records import Feedback, FeedbackDone, feedback_socket
from headrace.gateway import bodies
from headrace.gateway.bodies import Refused
from headrace.gateway.http.heads import RequestHead

if TYPE_CHECKING:
    from headrace.gateway.exchange import Exchange
    from headrace.gateway.local import LocalAnswers

WAIT_S = 20.0
MOST_BYTES = 65_536
_MOST_AT_A_TIME = 64
_AWAY = "MLflow, or what talks to it, does not answer: the feedback is not kept; send it again later."
_OFF = "No traces are kept here that feedback could be given on: telemetry.mlflow_traces turns them on."

_Scalar = bool | int | float | str


class _Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source_type: Literal["HUMAN", "LLM_JUDGE", "CODE"] = "HUMAN"
    source_id: Annotated[str, msgspec.Meta(min_length=1, max_length=250)] = "default"


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    value: _Scalar | list[_Scalar] | dict[str, _Scalar]
    trace_id: Annotated[str, msgspec.Meta(pattern="^(tr-)?[0-9a-f]{32}$")] | None = None
    request_id: Annotated[str, msgspec.Meta(min_length=1, max_length=250)] | None = None
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=250)] = "feedback"
    source: _Source | Annotated[str, msgspec.Meta(min_length=1, max_length=250)] = _Source()
    comment: Annotated[str, msgspec.Meta(max_length=16_384)] | None = None
    model: str | None = None


class FeedbackDesk:
    """Takes feedback for one gateway. `spawn` runs a task that the gateway holds."""

    def __init__(self, local: LocalAnswers, spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        self._local = local
        self._spawn = spawn
        self._socket: str | None = None
        self._under_way = 0

    def open(self, recorder: str) -> None:
        """Take feedback from now on: the recorder listens at this socket."""
        self._socket = feedback_socket(recorder)

    def take(self, exchange: Exchange, now_s: float) -> None:
        """Answer a request, at once or when MLflow has what it says."""
        try:
            socket, given = self._read(exchange)
        except Refused as refused:
            if refused.code == "PERMISSION_DENIED" and exchange.connection is not None:
                exchange.connection.port.count_forbidden()
            self._local.refuse(exchange, refused.code, str(refused), now_s)
            return
        self._under_way += 1
        self._spawn(self._hand_on(exchange, socket, given))

    def _read(self, exchange: Exchange) -> tuple[str, Feedback]:
        """(where the recorder listens, what it is to be told); raises Refused."""
        if self._socket is None:
            raise Refused("NOT_FOUND", _OFF)
        head = exchange.request
        given = read(head, exchange.body)
        exchange.request = head.asking(head.target._replace(model=given.model), head.wire_head, stream=False)
        if not self._local.knows(given.model):
            raise Refused("NOT_FOUND", f"There is no model '{given.model}' here.")
        if self._under_way >= _MOST_AT_A_TIME:
            raise Refused("OVERLOADED", f"{_MOST_AT_A_TIME} wait for MLflow, as many as may; send it again later.")
        return self._socket, given

    async def _hand_on(self, exchange: Exchange, socket: str, given: Feedback) -> None:
        try:
            done = await _ask(socket, given)
        except (OSError, TimeoutError, EOFError, framing.FramingError):
            done = FeedbackDone("TEMPORARILY_UNAVAILABLE", _AWAY)
        finally:
            self._under_way -= 1
        now_s = monotonic()
        if done.code:
            self._local.refuse(exchange, done.code, done.message, now_s)
        else:
            told = {"trace_id": done.trace_id, "assessment_id": done.assessment_id}
            self._local.tell(exchange, msgspec.json.encode(told), now_s)


async def _ask(socket: str, given: Feedback) -> FeedbackDone:
    async with asyncio.timeout(WAIT_S):
        reader, writer = await asyncio.open_unix_connection(socket)
        try:
            writer.write(framing.encode(given))
            decoder: framing.Decoder[FeedbackDone] = framing.Decoder(FeedbackDone)
            while data := await reader.read(65_536):
                for done in decoder.feed(data):
                    return done
        finally:
            writer.close()
    raise EOFError("the recorder has ended")


def read(head: RequestHead, body: bytes) -> Feedback:
    """The feedback in a request. Raises Refused."""
    if len(body) > MOST_BYTES:
        raise Refused("BAD_REQUEST", f"The body has {len(body)} bytes; feedback may have {MOST_BYTES}.")
    told = bodies.decode(head, body, _Body, "feedback")
    if (told.trace_id is None) == (told.request_id is None):
        raise Refused("BAD_REQUEST", "Say what it is about: either request_id (of X-Request-Id) or trace_id, not both.")
    model = head.target.model
    if model is None:
        model = bodies.named(head, told.model, "model: say which model's answer it is about; GET /models lists them.")
    elif told.model not in {None, model}:
        raise Refused("BAD_REQUEST", f"model: feedback sent here is about '{model}'; leave it out.")
    source = _Source(source_id=told.source) if isinstance(told.source, str) else told.source
    return Feedback(
        model=model,
        trace_id=f"tr-{told.trace_id.removeprefix('tr-')}" if told.trace_id is not None else None,
        request_id=told.request_id,
        name=told.name,
        value=told.value,
        source_type=source.source_type,
        source_id=source.source_id,
        comment=told.comment,
    )
