"""Whether the version that serves a model fails on most requests, and its last error."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from headrace.core.protocol.messages import ModelFailed
from headrace.core.rollout.failing import FailureWatch
from headrace.core.telemetry.counts import VersionCounts
from headrace.supervisor.rollout.version import Version
from headrace.telemetry.logs import Log

_NOTHING = VersionCounts()
_MOST_TEXT = 200


class AnswerHealth:
    """One model's. `on_change` is called when its version begins or ends to be failing.

    Only the version that serves is watched: a canary that does badly is withdrawn. Without `tells_texts` no text of an
    exception is kept, for it may repeat what a client has sent.
    """

    def __init__(self, model: str, log: Log, on_change: Callable[[], None], *, tells_texts: bool = True) -> None:
        self._model = model
        self._log = log
        self._on_change = on_change
        self._tells_texts = tells_texts
        self._watch = FailureWatch()
        self._version: Version | None = None
        self._counted = _NOTHING
        self._example = ""
        self._last: dict[str, Any] | None = None

    @property
    def failing(self) -> str:
        """The failure in one line; empty if the version is well, as far as is known."""
        if self._watch.since_s is None:
            return ""
        if self._last is None:
            return self._example or f"{self._watch.share:.0%} of its last answers are errors"
        told = f"{self._last['status']} {self._last['error_code']}".strip()
        if self._last["exception"]:
            told += f", {self._last['exception']}"
            told += f": {self._last['text'][:_MOST_TEXT]}" if self._last["text"] else ""
        return f"{self._watch.share:.0%} of its last answers are errors, the last {told}"

    def flipped(self, version: Version | None, counts: Mapping[tuple[str, str], VersionCounts]) -> None:
        """Another version serves now; `counts` are the last ones that were read."""
        self._version, self._watch, self._last, self._example = version, FailureWatch(), None, ""
        if version is None or version.workers is None:
            return
        self._counted = counts.get((self._model, version.label), _NOTHING)
        warm_up = version.workers.warm_up
        if warm_up.get("ok") is False:
            self._example = f"its own example fails: {warm_up.get('reason') or warm_up.get('status')}"
            self._watch.example_failed(time.time())
            self._log.warning("failing", version=version.label, reason=self._example)

    def count(self, counts: Mapping[tuple[str, str], VersionCounts]) -> None:
        """Take the counts of the gateways up to now."""
        version = self._version
        if version is None:
            return
        counted = counts.get((self._model, version.label), _NOTHING)
        since, self._counted = counted.since(self._counted), counted
        failed = since.errors - since.shed
        if self._watch.feed(since.requests - since.errors - since.rejected, failed, time.time()):
            if self._watch.since_s is not None:
                self._log.error("failing", version=version.label, reason=self.failing)
            else:
                self._log.info("answers again", version=version.label)
            self._on_change()

    def failed(self, message: ModelFailed) -> None:
        """The version has failed on requests."""
        if self._version is not None and message.pool == self._version.key:
            last = message.failures[-1]
            self._last = {
                "at": time.time(),
                "status": last.status,
                "error_code": last.error_code,
                "exception": last.type or None,
                "text": (last.text or None) if self._tells_texts else None,
                "request_id": last.request_ids[-1] if last.request_ids else None,
            }

    def describe(self) -> dict[str, Any] | None:
        """Since when (Unix seconds), the share of failures and the last error; None if the version is well."""
        if self._watch.since_s is None:
            return None
        return {
            "since": self._watch.since_s,
            "share": round(self._watch.share, 3),
            "reason": self.failing,
            "last": self._last,
        }
