"""Sampling of requests by their id, so that all processes decide alike, and always alike.

The rule, to repeat it elsewhere: ``crc32(id) * 2654435761 mod 2**32 < share * 2**32``. The
multiplication (Knuth's) spreads ids that differ in their last digits only.
"""

from __future__ import annotations

from zlib import crc32

_SPREAD = 2_654_435_761
_MASK = 0xFFFFFFFF


def point(request_id: bytes) -> float:
    """Where an id lies between 0 (included) and 1 (excluded): sampled with share `s` are those below `s`."""
    return (crc32(request_id) * _SPREAD & _MASK) / 4_294_967_296.0
