"""What a call can end in besides an answer. Everything that a client raises for a call is a `ClientError`.

| class | when | was it repeated |
|---|---|---|
| `BadRequest` | the input or the address is wrong (4xx), or cannot be written as JSON | no |
| `ModelError` | the model failed, or answered what cannot be used | no |
| `Overloaded` | the server turned it away for now (429, or 503 with OVERLOADED) | yes |
| `Unavailable` | no server, no connection, a broken answer, 502, 503 | yes |
| `DeadlineExceeded` | the time was up, here or at the server (504) | yes, while there was time |
| `PartialFailure` | an input that was cut was answered in part | as its parts |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class ClientError(Exception):
    """A call that was not answered.

    `status` is the HTTP status (None if there was no answer), `code` the server's error_code (None without one),
    `message` what was wrong without what follows here, `request_id` what to look for in the server's log, `tries` how
    many requests were sent (0: none), `address` the last one that was asked, `retry_after_s` what the server's last
    Retry-After said. Can be pickled.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        tries: int = 0,
        address: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.tries = tries
        self.address = address
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        facts = [
            f"HTTP {self.status}" if self.status is not None else "",
            self.code or "",
            f"request {self.request_id}" if self.request_id else "",
            f"{self.tries} {'try' if self.tries == 1 else 'tries'}" if self.tries else "",
            f"at {self.address}" if self.address else "",
        ]
        told = ", ".join(fact for fact in facts if fact)
        return f"{self.message} ({told})" if told else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, dict(self.__dict__))


class BadRequest(ClientError):
    """The request is wrong, and would be the next time."""


class ModelError(ClientError):
    """The model failed on this input, or answered something that cannot be used."""


class Overloaded(ClientError):
    """The server has more to do than it can, and said so until there was no time or no try left."""


class DeadlineExceeded(ClientError):
    """The answer did not come in time."""


class Unavailable(ClientError):
    """No server answered as a model server does."""


@dataclass(frozen=True)
class RowsFailed:
    """Rows `start` up to but not including `stop` of the input, and why they have no answer."""

    start: int
    stop: int
    error: ClientError


class PartialFailure(ClientError):
    """Some rows of an input that was sent in parts were not answered.

    `failures` names them; `predictions` has one entry for each row of the input, None for those without an answer, and
    is None itself where the answers are not one list.
    """

    def __init__(self, failures: tuple[RowsFailed, ...], predictions: list[Any] | None, rows: int) -> None:
        first = failures[0].error
        names = [str(f.start) if f.stop == f.start + 1 else f"{f.start} to {f.stop - 1}" for f in failures[:5]]
        where = ", ".join(names) + (", ..." if len(failures) > 5 else "")
        count = sum(f.stop - f.start for f in failures)
        which, because = ("row", "because") if count == 1 else ("rows", "the first because")
        super().__init__(
            f"{count} of {rows} rows {'was' if count == 1 else 'were'} not answered ({which} {where}); "
            f"{because}: {first.message}",
            status=first.status,
            code=first.code,
            request_id=first.request_id,
            tries=sum(f.error.tries for f in failures),
            address=first.address,
            retry_after_s=first.retry_after_s,
        )
        self.failures = failures
        self.predictions = predictions


def _rebuild(cls: type[ClientError], message: str, state: dict[str, Any]) -> ClientError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error
