"""Chooses among the addresses of a client: the healthy one with the fewest outstanding requests.

An address that failed is skipped for a while (longer after each failure in a row); one that answered with Retry-After,
for that long. If all are skipped, the one that is due first is used. With a circuit breaker, an address that failed too
often in a row gets no request for `open_s`, and then one only.

Pure: time is a number of seconds on a clock that does not go back, chance a number in [0, 1).
"""

from __future__ import annotations

from dataclasses import dataclass

_REST_FIRST_S = 0.25
_REST_MOST_S = 10.0
NEVER_S = float("inf")


@dataclass(frozen=True)
class BreakerPolicy:
    """`failures` in a row open the circuit for `open_s`."""

    failures: int = 5
    open_s: float = 5.0

    def __post_init__(self) -> None:
        if self.failures < 1 or self.open_s <= 0:
            raise ValueError("breaker: failures >= 1, open_s > 0")


class Address:
    """The state of one address. `outstanding` counts tries under way, `failures` those that failed in a row."""

    __slots__ = ("failures", "index", "open_until_s", "outstanding", "rests_until_s", "trial", "url")

    def __init__(self, index: int, url: str) -> None:
        self.index = index
        self.url = url
        self.outstanding = 0
        self.failures = 0
        self.rests_until_s = 0.0
        self.open_until_s = 0.0
        self.trial = False

    def __repr__(self) -> str:
        return f"<Address {self.url} outstanding={self.outstanding} failures={self.failures}>"


class Fleet:
    """The addresses of one client, and the owner of their state. `breaker` None: no circuit breaker."""

    __slots__ = ("_breaker", "_turn", "addresses")

    def __init__(self, urls: tuple[str, ...], breaker: BreakerPolicy | None) -> None:
        self.addresses = [Address(i, url) for i, url in enumerate(urls)]
        self._breaker = breaker
        self._turn = 0

    def pick(self, now_s: float, avoid: frozenset[int] = frozenset()) -> Address | None:
        """Choose an address and count a try on it; None if every circuit is open.

        `avoid` holds the indexes of addresses that this call has tried: they are chosen only where no other is well.
        Equals take turns. Each pick ends with exactly one of `worked`, `failed` and `abandoned`.
        """
        count = len(self.addresses)
        self._turn = (self._turn + 1) % count
        best: Address | None = None
        best_rank: tuple[bool, float, bool, int, int] | None = None
        for address in self.addresses:
            if not self._closed(address, now_s):
                continue
            resting = address.rests_until_s > now_s
            rank = (
                resting,
                address.rests_until_s if resting else 0.0,
                address.index in avoid,
                address.outstanding,
                (address.index - self._turn) % count,
            )
            if best_rank is None or rank < best_rank:
                best, best_rank = address, rank
        if best is not None:
            best.outstanding += 1
            if best.open_until_s:
                best.trial = True
        return best

    def has_other(self, now_s: float, tried: frozenset[int]) -> bool:
        """Whether an address that is not in `tried` is well: then a retry needs no back-off."""
        return any(a.index not in tried and a.rests_until_s <= now_s and self._closed(a, now_s) for a in self.addresses)

    def worked(self, address: Address) -> None:
        """The address has answered, perhaps with an error of the caller or the model."""
        address.outstanding -= 1
        address.failures = 0
        address.rests_until_s = address.open_until_s = 0.0
        address.trial = False

    def failed(self, address: Address, now_s: float, retry_after_s: float | None = None) -> None:
        """The address could not be reached, closed the connection, or reported that it cannot answer now."""
        address.outstanding -= 1
        address.failures += 1
        address.trial = False
        rest_s = min(_REST_MOST_S, _REST_FIRST_S * 2.0 ** min(address.failures - 1, 16))
        address.rests_until_s = now_s + max(rest_s, retry_after_s or 0.0)
        if self._breaker is not None and address.failures >= self._breaker.failures:
            address.open_until_s = now_s + self._breaker.open_s

    def abandoned(self, address: Address) -> None:
        """The caller has cancelled the try, which says nothing about the address."""
        address.outstanding -= 1
        address.trial = False

    def _closed(self, address: Address, now_s: float) -> bool:
        """Whether the circuit lets a request through: closed, or half open and nobody is trying."""
        return not address.open_until_s or (address.open_until_s <= now_s and not address.trial)
