"""Limits failed attempts to sign in."""

from __future__ import annotations

import ipaddress


class Attempts:
    """Of each address at most `most` in `within_s` seconds. Of an IPv6 address its network of /64 counts as one.

    At most `addresses` are remembered: beyond that the oldest is forgotten.
    """

    def __init__(self, *, most: int = 10, within_s: float = 60.0, addresses: int = 10_000) -> None:
        self._most = most
        self._within_s = within_s
        self._addresses = addresses
        self._failed: dict[str, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._failed)

    def wait_s(self, address: str, now_s: float) -> float:
        """How long an address has to wait before it may try again; 0: not at all."""
        count, since_s = self._failed.get(_origin(address), (0, 0.0))
        return max(0.0, since_s + self._within_s - now_s) if count >= self._most else 0.0

    def failed(self, address: str, now_s: float) -> None:
        """Count a refused attempt."""
        origin = _origin(address)
        count, since_s = self._failed.pop(origin, (0, now_s))
        if now_s - since_s >= self._within_s:
            count, since_s = 0, now_s
        self._failed[origin] = count + 1, since_s
        if len(self._failed) > self._addresses:
            del self._failed[next(iter(self._failed))]


def _origin(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
