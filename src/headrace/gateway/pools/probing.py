"""A request that the supervisor sends to see whether a model can predict: by a client's way, but nobody's traffic."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import msgspec

from headrace.core.protocol.messages import Probe, Probed
from headrace.gateway.exchange import Job, Owner, Source
from headrace.gateway.http import answers
from headrace_worker import wire

if TYPE_CHECKING:
    from headrace.core.protocol.messages import FromGateway
    from headrace.gateway.pools.pool import Pool
    from headrace_worker.wire import Answer

_HEAD = wire.head(b"application/json")
_MOST_CHARACTERS = 300


class ProbeJob(Job):
    """Waits in the queue and goes to a worker as other requests do, alone; not cached, and counted nowhere."""

    __slots__ = ("_pool", "_report", "_token")

    probe: ClassVar[bool] = True

    def __init__(self, asked: Probe, pool: Pool, report: Callable[[FromGateway], None], now_s: float) -> None:
        super().__init__(_HEAD, asked.body, arrived_s=now_s, deadline_s=now_s + asked.timeout_s)
        self.solo = True
        self._token = asked.token
        self._report = report
        self._pool = pool

    def asked_by(self) -> tuple[()]:
        """No client: it is not counted."""
        return ()

    def answer(self, answer: Answer, source: Source, now_s: float) -> None:  # noqa: ARG002 - a job's signature
        """A worker has answered."""
        self._say(answer.status, "" if answer.status == 200 else _message(bytes(answer.body)), now_s)

    def fail(self, code: str, message: str, now_s: float, *, retry_after_s: int = 0) -> None:  # noqa: ARG002
        """Nobody has answered. Where only an earlier probe keeps the workers from this one, that says enough."""
        asked = self.sent_s > self.arrived_s or self._pool.held_by_probes()
        self._say(answers.http_status(code), message, now_s, asked=asked)

    def move(self, owner: Owner) -> None:
        """It stays with the version that it was sent to."""

    def outlives_pool(self) -> bool:
        """It was for this version only."""
        self._say(503, "the version is gone", self.arrived_s, asked=False)
        return False

    def _say(self, status: int, reason: str, now_s: float, *, asked: bool = True) -> None:
        took_s, reason = now_s - self.arrived_s, reason[:_MOST_CHARACTERS]
        self._report(Probed(token=self._token, status=status, reason=reason, took_s=took_s, asked=asked))


def _message(body: bytes) -> str:
    """What an error's body says, in one line: a model's own last words, where they are told."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = body.decode("utf-8", "replace")
    if isinstance(said, dict):
        trace = str(said.get("stack_trace") or "").strip()
        said = trace.rpartition("\n")[2] or said.get("message", said)
    return " ".join(str(said).split())
