"""Collects the failures of a model for a second, and then reports them: kinds, counts, a few request ids."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from headrace.core.protocol.messages import Failure, ModelFailed
from headrace.core.protocol.raised import Raised
from headrace.gateway.http import answers
from headrace_worker.wire import Answer

TELL_S = 1.0
_MOST_IDS = 5
_MOST_KINDS = 50


@dataclass
class _Kind:
    text: str = ""
    traceback: str = ""
    count: int = 0
    status: int = 0
    error_code: str = ""
    request_ids: list[str] = field(default_factory=list)


class FailureReports:
    """One pool's. `add` each answer that is a failure, then say what was `raised` in its frame."""

    def __init__(self, pool: str, report: Callable[[ModelFailed], None]) -> None:
        self._pool = pool
        self._report = report
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._of_frame: list[tuple[Answer, str]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, answer: Answer, request_id: bytes) -> None:
        """Add a request that was answered with a failure."""
        self._of_frame.append((answer, request_id.decode("ascii")))

    def settle(self, whole: list[Answer], raised: list[Raised]) -> None:
        """All of a frame is answered: `whole` are its answers, `raised` what its notes say that the model raised."""
        if not self._of_frame:
            return
        failed, self._of_frame = self._of_frame, []
        kind_of = {place: one for one in raised for place in one.places}
        for answer, request_id in failed:
            place = next((i for i, one in enumerate(whole) if one is answer), -1)
            self._count(kind_of.get(place, _UNKNOWN), answer, request_id)
        if self._timer is None:
            self.tell()
            self._timer = asyncio.get_running_loop().call_later(TELL_S, self._due)

    def tell(self) -> None:
        """Report what was collected."""
        kinds, self._kinds = self._kinds, {}
        if kinds:
            told = (
                Failure(
                    type=type_,
                    where=where,
                    text=kind.text,
                    traceback=kind.traceback,
                    count=kind.count,
                    status=kind.status,
                    error_code=kind.error_code,
                    request_ids=tuple(kind.request_ids),
                )
                for (type_, where), kind in kinds.items()
            )
            self._report(ModelFailed(self._pool, tuple(told)))

    def close(self) -> None:
        """Report the rest. Nothing comes after it."""
        if self._timer is not None:
            self._timer.cancel()
        self.tell()

    def _due(self) -> None:
        self._timer = None
        if self._kinds:
            self.tell()
            self._timer = asyncio.get_running_loop().call_later(TELL_S, self._due)

    def _count(self, raised: Raised, answer: Answer, request_id: str) -> None:
        key = (raised.type, raised.where)
        if key not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            key = next(iter(self._kinds))
        kind = self._kinds.setdefault(key, _Kind())
        kind.text = kind.text or raised.text
        kind.traceback = kind.traceback or raised.traceback
        kind.count += 1
        kind.status, kind.error_code = answer.status, answers.error_code(answer.body)
        kind.request_ids = [*kind.request_ids, request_id][-_MOST_IDS:]


_UNKNOWN = Raised()
