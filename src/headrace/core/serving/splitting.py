"""Chooses the version for a request if several share the traffic of a model.

A request with a key (a header that names a user, a request id) always lands on the same point of the line that the
weights divide; requests without one visit every point in turn, so that each run of as many requests as the weights sum
up to is divided exactly. Shares keep their order: when one of the first grows at the cost of the last, keys move only
from the last to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")

_GOLDEN = 0.6180339887498949


def point_of(key: bytes, salt: bytes, total: int) -> int:
    """The point of `key`, from 0 to below `total`: the same for ever, and evenly spread. `salt` sets models apart."""
    digest = blake2b(key, digest_size=8, key=salt[:64]).digest()
    return int.from_bytes(digest) * total >> 64


def stride_of(total: int) -> int:
    """How far one turn is from the next, so that `total` turns visit every point once and neighbours lie apart."""
    stride = max(1, round(total * _GOLDEN))
    while math.gcd(stride, total) != 1:
        stride += 1
    return stride


def share_at(shares: Sequence[tuple[T, int]], point: int) -> T:
    """Whose point it is: shares lie one after the other, each as long as its weight; 0 <= `point` < their sum."""
    for owner, weight in shares:
        point -= weight
        if point < 0:
            return owner
    raise ValueError("the point lies behind the last share")
