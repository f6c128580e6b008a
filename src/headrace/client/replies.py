"""What came back for one try, and which error an answer means. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.client.errors import (
    BadRequest,
    ClientError,
    DeadlineExceeded,
    ModelError,
    Overloaded,
    Unavailable,
)
from headrace.core.client.retrying import Kind, Trouble, parse_retry_after

MODEL_FAILED = "Encountered an unexpected error while evaluating the model"
"""MLflow answers 400 for every exception of a model; the text is what tells it from a wrong request."""

_LONGEST_MESSAGE = 2000


@dataclass(frozen=True)
class Reply:
    """A whole HTTP answer; `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def request_id(self) -> str | None:
        """What the server calls this request."""
        return self.headers.get("x-request-id")

    @property
    def is_json(self) -> bool:
        """Whether it says that its body is JSON."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


@dataclass(frozen=True)
class Prediction:
    """An answer with what is known about it.

    `value` is what `predict` returns, `model` which version answered (None where the server does not say), `tries` how
    many requests it took, `took_s` how long all of them with their pauses. An input that was cut has the facts of its
    first part, the tries of all, and the longest of their times.
    """

    value: Any
    model: str | None = None
    request_id: str | None = None
    tries: int = 1
    took_s: float = 0.0
    address: str | None = None


@dataclass(frozen=True)
class Failure:
    """One try that failed: what the rules look at (`trouble`), and what a person is told.

    `late`: because time was up, which was `given_s`. `final`: another try would not even be sent. `lasting`: the same
    address would fail alike.
    """

    trouble: Trouble
    message: str
    request_id: str | None = None
    late: bool = False
    given_s: float = 0.0
    final: bool = False
    lasting: bool = False

    @staticmethod
    def of_connection(kind: Kind, message: str, *, final: bool = False, lasting: bool = False) -> Failure:
        """There was no whole answer."""
        return Failure(Trouble(kind), message, final=final, lasting=lasting)

    @staticmethod
    def of_time(kind: Kind, message: str, given_s: float = 0.0) -> Failure:
        """There was no whole answer when the `given_s` seconds for it were over."""
        return Failure(Trouble(kind), message, late=True, given_s=given_s)

    @staticmethod
    def of_reply(reply: Reply, now_epoch_s: float) -> Failure:
        """A whole answer that is not 200."""
        code, message = _told(reply)
        after_s = parse_retry_after(reply.headers.get("retry-after"), now_epoch_s)
        return Failure(Trouble("status", reply.status, code, after_s), message, reply.request_id)

    def error(self, *, tries: int, address: str | None, why: str = "", request_id: str | None = None) -> ClientError:
        """What the call raises if it ends with this; `why` says why it was not tried again."""
        trouble = self.trouble
        return self._class()(
            f"{self.message}; {why}" if why else self.message,
            status=trouble.status or None,
            code=trouble.code or None,
            request_id=self.request_id or request_id,
            tries=tries,
            address=address,
            retry_after_s=trouble.retry_after_s,
        )

    def _class(self) -> type[ClientError]:
        trouble = self.trouble
        if self.late:
            return DeadlineExceeded
        if trouble.kind != "status":
            return Unavailable
        status = trouble.status
        if status == 504:
            return DeadlineExceeded
        if status == 429 or (status == 503 and trouble.code == "OVERLOADED"):
            return Overloaded
        if status in {408, 502, 503} or status < 300:
            return Unavailable
        if status >= 500 or self.message.startswith(MODEL_FAILED):
            return ModelError
        return BadRequest


def _told(reply: Reply) -> tuple[str, str]:
    """(error_code, message) of an answer that is an error, of headrace, MLflow or a proxy."""
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        code, message = value.get("error_code"), value.get("message", value.get("detail"))
        if message:
            return str(code or ""), str(message)[:_LONGEST_MESSAGE]
    text = reply.body[:2000].decode("utf-8", "replace")
    if reply.headers.get("content-type", "").lower().startswith("text/html"):  # a proxy's page
        text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    text = " ".join(text.split())[:400]
    if location := reply.headers.get("location", "") if 300 <= reply.status < 400 else "":
        text = f"it points to {location}: use that address"
    return "", f"the server answered {reply.status}{': ' if text else ''}{text}"
