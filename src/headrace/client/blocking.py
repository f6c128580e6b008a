"""The client for code without asyncio."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack

from headrace.client import parts
from headrace.client.asynchronous import make_stream, payload_for, shaped, told
from headrace.client.cutting import Part
from headrace.client.encoding import Form
from headrace.client.errors import Unavailable
from headrace.client.looping import LoopThread
from headrace.client.options import Options, Overrides
from headrace.client.progress import shown
from headrace.client.remote import Remote
from headrace.client.replies import Prediction
from headrace.client.streams import Stream

if TYPE_CHECKING:
    from headrace.client.local import LocalModel


class Client:
    """One model, served or in this process. Made by `connect`; safe for threads. ``with`` closes it.

    After a fork the child has connections of its own; it may use the client as the parent does.
    """

    def __init__(self, model: Callable[[], Remote] | LocalModel, options: Options) -> None:
        self._make_remote = model if callable(model) else None
        self._model: Remote | LocalModel = model() if callable(model) else model
        self._options = options
        self._lock = threading.Lock()
        self._loop: LoopThread | None = None
        self._pid = os.getpid()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Client of {self._model.urls if isinstance(self._model, Remote) else self._model.uri}>"

    def predict(
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
        """Return the predictions for `data`: plain Python, or an array or a DataFrame where that is asked for.

        `data` is a list, a dict of lists, a NumPy array, a DataFrame or a Series (`encoding` has the table); `params`
        go to the model; `form` chooses the key of the request by hand. `progress` True shows a bar on the standard
        error, a function is told of each batch of rows that is done. The rest is `Options` for this call only. Raises
        ClientError.
        """
        answer = self.ask(data, params=params, progress=progress, form=form, **override)
        return shaped(answer.value, as_numpy=as_numpy, as_frame=as_frame)

    def ask(
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
        model, loop = self._here()
        payload = payload_for(model, data, params, form)
        with shown(progress, payload.rows) as tell:
            if not isinstance(model, Remote):
                return parts.predict_in_turn(model.ask, payload, options, tell)
            first, rest = parts.begin(payload, options)
            if rest is None:
                # Written and read in the caller's thread: what the loop does for one caller, all others wait for.
                answer = parts.read(told(loop.run(model.ask(first.body, options, typed=first.typed))), payload)
                tell(payload.rows or 1)
                return answer

            async def ask(part: Part) -> Prediction:
                return told(await model.ask(part.body, options, typed=part.typed))

            return loop.run(parts.predict_cut(ask, payload, options, tell, first, rest))

    def stream(
        self,
        data: Any,
        *,
        params: Mapping[str, Any] | None = None,
        form: Form | None = None,
        **override: Unpack[Overrides],
    ) -> Stream:
        """Return the pieces of a streamed answer as they come; a model that does not stream gives its answer in one."""
        options = self._options.but(override)
        model, loop = self._here()
        return Stream(make_stream(model, payload_for(model, data, params, form), options), loop, self)

    def close(self) -> None:
        """Close the connections, or let go of the model. Calls of other threads end with Unavailable.

        May be called twice.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            loop, self._loop = self._loop, None
        model = self._model
        if not isinstance(model, Remote):
            model.close()
        if loop is not None and self._pid == os.getpid():
            loop.close(model.close if isinstance(model, Remote) else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _here(self) -> tuple[Remote | LocalModel, LoopThread]:
        """The model and the loop of this process; the loop starts with the first call."""
        if self._pid != os.getpid():
            self._lock = threading.Lock()  # another thread of the parent may have held it
        with self._lock:
            if self._closed:
                raise Unavailable("the client is closed")
            if self._pid != os.getpid():
                # The parent's thread and sockets are not ours: both are made anew, and the old ones left alone.
                self._pid = os.getpid()
                self._loop = None
                if self._make_remote is not None:
                    self._model = self._make_remote()
                elif not isinstance(self._model, Remote):
                    self._model.forked()
            if self._loop is None:
                self._loop = LoopThread()
                # For clients that nobody closes: without it each would leave a thread behind.
                last = self._model.close if isinstance(self._model, Remote) else None
                weakref.finalize(self, self._loop.close, last, wait=False).atexit = False
            return self._model, self._loop
