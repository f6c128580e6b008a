"""When a client may retry, how long it waits, and how many retries all of its calls together may make.

Pure: time is a number of seconds on a clock that does not go back, chance a number in [0, 1).

Two questions are kept apart. *May* this be repeated at all (`may_retry`): never what the caller or the model got wrong,
and, where a call must not run twice, nothing that may have reached a model. And *when* (`back_off_s`, `Budget`): a
server in trouble gets time, and all calls of a client together repeat only a share of their requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

Kind = Literal["unsent", "lost", "status"]

RETRYABLE_STATUSES = frozenset({408, 429, 502, 503, 504})
_NOT_BEGUN_STATUSES = frozenset({408, 429})
_NOT_BEGUN_CODES = frozenset({"OVERLOADED"})
_SHORTEST_S = 0.02


@dataclass(frozen=True)
class Trouble:
    """How one try failed.

    `unsent`: no connection, so no server saw the request. `lost`: the connection broke or was given up before the whole
    answer was there, so a model may have run. `status`: a whole answer that is none of the good ones; `code` is its
    ``error_code`` (empty where it has none) and `retry_after_s` what its Retry-After says, None without one.
    """

    kind: Kind
    status: int = 0
    code: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how fast: the wait doubles from `first_s` up to `most_s`.

    `max_tries` counts the first try too, None leaves the end to the deadline. `idempotent` False says that a request
    must not reach a model twice.
    """

    max_tries: int | None = None
    first_s: float = 0.1
    most_s: float = 5.0
    idempotent: bool = True

    def __post_init__(self) -> None:
        if self.max_tries is not None and self.max_tries < 1:
            raise ValueError(f"max_tries: at least 1, got {self.max_tries}")
        if not 0 < self.first_s <= self.most_s:
            raise ValueError(f"back-off: 0 < first_s <= most_s, got {self.first_s} and {self.most_s}")


def may_retry(policy: RetryPolicy, trouble: Trouble) -> bool:
    """Whether the same request may be sent again after `trouble`.

    Where it must not run twice, only what certainly has not begun is repeated: no connection, 408 (the request did not
    arrive), 429 (it was refused) and headrace's OVERLOADED (it never left the queue).
    """
    if trouble.kind == "unsent":
        return True
    if trouble.kind == "lost":
        return policy.idempotent
    if trouble.status not in RETRYABLE_STATUSES:
        return False
    return policy.idempotent or trouble.status in _NOT_BEGUN_STATUSES or trouble.code in _NOT_BEGUN_CODES


def back_off_s(policy: RetryPolicy, failures: int, chance: float) -> float:
    """Return the wait after the `failures`-th failure in a row (from 1): exponential, its upper half by chance."""
    whole_s = min(policy.most_s, policy.first_s * 2.0 ** min(failures - 1, 32))
    return whole_s * (0.5 + chance / 2)


def wait_s(policy: RetryPolicy, trouble: Trouble, failures: int, left_s: float, chance: float) -> float | None:
    """Return the seconds to wait before the next try, None if none fits into the `left_s` until the deadline.

    A Retry-After is kept to or, where it goes beyond the deadline, ends the call. A back-off, which nobody asked for,
    is shortened so that half of the time that is left remains for the try.
    """
    if trouble.retry_after_s is not None and trouble.retry_after_s >= left_s:
        return None
    wait = back_off_s(policy, failures, chance)
    if left_s <= _SHORTEST_S:
        return None
    return max(min(wait, left_s / 2), trouble.retry_after_s or 0.0)


def parse_retry_after(value: str | None, now_epoch_s: float) -> float | None:
    """Return the seconds that a Retry-After asks for (RFC 9110 10.2.3: a number or a date), None if it is not one."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
        # A date without a zone, as asctime writes it, is GMT too.
        return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now_epoch_s)
    except ValueError:
        return None


@dataclass(frozen=True)
class BudgetPolicy:
    """Retries that all calls of a client may make: `ratio` of their first tries, and `per_s` a second besides.

    `burst` is how many may be saved up.
    """

    ratio: float = 0.2
    per_s: float = 10.0
    burst: float = 20.0

    def __post_init__(self) -> None:
        if self.ratio < 0 or self.per_s <= 0 or self.burst < 1:
            raise ValueError("budget: ratio >= 0, per_s > 0, burst >= 1")


class Budget:
    """The retries that are left. A retry beyond them is not refused but waits its turn: the rate is what is bounded.

    So a sick server sees at most ``per_s + ratio`` of the load as repetitions, and a call that has time left is still
    answered when the server is well again.
    """

    __slots__ = ("_policy", "_seen_s", "_tokens")

    def __init__(self, policy: BudgetPolicy, now_s: float) -> None:
        self._policy = policy
        self._tokens = policy.burst
        self._seen_s = now_s

    def __repr__(self) -> str:
        return f"<Budget {self._tokens:.2f} tokens>"

    def asked(self, now_s: float) -> None:
        """Count the first try of a call."""
        self._fill(now_s)
        self._tokens = min(self._policy.burst, self._tokens + self._policy.ratio)

    def take(self, now_s: float, at_most_s: float) -> float | None:
        """Reserve one retry; return in how many seconds it may start, None (not reserved) if after `at_most_s`."""
        self._fill(now_s)
        wait = max(0.0, (1.0 - self._tokens) / self._policy.per_s)
        if wait > at_most_s:
            return None
        self._tokens -= 1.0
        return wait

    def _fill(self, now_s: float) -> None:
        elapsed_s = max(0.0, now_s - self._seen_s)
        self._tokens = min(self._policy.burst, self._tokens + elapsed_s * self._policy.per_s)
        self._seen_s = max(self._seen_s, now_s)
