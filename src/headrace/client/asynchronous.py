"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack

from headrace.client import decoding, parts
from headrace.client.cutting import Part
from headrace.client.encoding import Form, Payload, prepare
from headrace.client.errors import BadRequest, Unavailable
from headrace.client.options import Options, Overrides
from headrace.client.progress import shown
from headrace.client.remote import EVENT_STREAM, Outcome, Remote
from headrace.client.replies import Prediction
from headrace.client.streams import AsyncStream, Opened

if TYPE_CHECKING:
    from headrace.client.local import LocalModel


class AsyncClient:
    """One model, served or in this process. Made by `aconnect`; belongs to one event loop. ``async with`` closes it.

    Cancelling a call closes its connection, so that a server drops the request; a model in this process cannot be
    stopped in the middle, and its answer is thrown away.
    """

    def __init__(self, model: Remote | LocalModel, options: Options) -> None:
        self._model = model
        self._options = options

    def __repr__(self) -> str:
        return f"<AsyncClient of {self._model.urls if isinstance(self._model, Remote) else self._model.uri}>"

    async def predict(
        self,
        data: Any,
        *,
        params: Mapping[str, Any] | None = None,
        as_numpy: bool = False,
        as_frame: bool = False,
        progress: bool | Callable[[int], None] = False,
        form: Form | None = None,
        **override: Unpack[Overrides],
    ) -> Any:
        """Return the predictions for `data`; see `Client.predict`."""
        answer = await self.ask(data, params=params, progress=progress, form=form, **override)
        return shaped(answer.value, as_numpy=as_numpy, as_frame=as_frame)

    async def ask(
        self,
        data: Any,
        *,
        params: Mapping[str, Any] | None = None,
        progress: bool | Callable[[int], None] = False,
        form: Form | None = None,
        **override: Unpack[Overrides],
    ) -> Prediction:
        """Return the predictions with what is known about them: model version, request id, tries, seconds."""
        options = self._options.but(override)
        model = self._model
        payload = payload_for(model, data, params, form)

        async def ask(part: Part) -> Prediction:
            if isinstance(model, Remote):
                return told(await model.ask(part.body, options, typed=part.typed))
            return await asyncio.to_thread(model.ask, part.body)

        with shown(progress, payload.rows) as tell:
            return await parts.predict(ask, payload, options, tell)

    def stream(
        self,
        data: Any,
        *,
        params: Mapping[str, Any] | None = None,
        form: Form | None = None,
        **override: Unpack[Overrides],
    ) -> AsyncStream:
        """Return the pieces of a streamed answer as they come; a model that does not stream gives its answer in one."""
        options = self._options.but(override)
        return make_stream(self._model, payload_for(self._model, data, params, form), options)

    async def aclose(self) -> None:
        """Close the connections, or let go of the model. May be called twice."""
        if isinstance(self._model, Remote):
            await self._model.close()
        else:
            self._model.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def payload_for(model: Remote | LocalModel, data: Any, params: Mapping[str, Any] | None, form: Form | None) -> Payload:
    """The input in the form that the model takes, as far as that is known: a served one says so when it is asked."""
    payload = prepare(data, params, form)
    is_typed = not isinstance(model, Remote) and model.typed
    return payload.typed if is_typed and payload.typed is not None else payload


def told(outcome: Outcome) -> Prediction:
    """An outcome as a prediction whose value is still the body."""
    reply = outcome.reply
    if not reply.is_json:
        kind = reply.headers.get("content-type", "no content type")
        raise Unavailable(
            f"the answer is {kind} and not JSON; is this the address of a model server?",
            status=reply.status,
            request_id=reply.request_id,
            tries=outcome.tries,
            address=outcome.address,
        )
    return Prediction(
        reply.body,
        model=reply.headers.get("headrace-model"),
        request_id=reply.request_id,
        tries=outcome.tries,
        took_s=outcome.took_s,
        address=outcome.address,
    )


def shaped(value: Any, *, as_numpy: bool, as_frame: bool) -> Any:
    """The form of the predictions that was asked for; raises BadRequest for both at once."""
    if as_numpy and as_frame:
        raise BadRequest("as_numpy and as_frame exclude each other")
    if as_numpy:
        return decoding.to_numpy(value)
    return decoding.to_frame(value) if as_frame else value


def make_stream(model: Remote | LocalModel, payload: Payload, options: Options) -> AsyncStream:
    """A stream that is opened when its first piece is asked for."""

    async def open_remote() -> Opened:
        assert isinstance(model, Remote)  # noqa: S101 - for the type checker
        typed = payload.typed.whole if payload.typed is not None else None
        outcome = await model.ask(payload.whole(), options, accept=EVENT_STREAM, typed=typed)
        if outcome.stream is None:
            return iter([parts.read(told(outcome), payload).value]), _nothing
        return model.pieces(outcome.stream), outcome.stream.aclose

    async def open_local() -> Opened:
        assert not isinstance(model, Remote)  # noqa: S101 - for the type checker
        started = await asyncio.to_thread(model.stream, payload.whole())
        if isinstance(started, Prediction):
            return iter([parts.read(started, payload).value]), _nothing
        return _in_thread(started), _nothing

    is_remote = isinstance(model, Remote)
    return AsyncStream(open_remote if is_remote else open_local, options.deadline_s if is_remote else None)


async def _in_thread(events: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (chunk := await asyncio.to_thread(next, events, None)) is not None:
        yield chunk


async def _nothing() -> None:
    """There is nothing to let go of."""
