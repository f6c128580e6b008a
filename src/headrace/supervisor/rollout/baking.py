"""Watches a version that has just taken over, and compares it with the one that it replaced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from headrace.config.tree import Rollout
from headrace.core.rollout.baking import BakeLimits, Conduct, baseline, verdict
from headrace.core.telemetry.counts import VersionCounts, read_counts
from headrace.supervisor.rollout.dependencies import Traffic
from headrace.supervisor.rollout.version import Version

_NONE = VersionCounts()


async def bake(
    traffic: Traffic,
    config: Rollout,
    model: str,
    version: Version,
    former: Callable[[], Version | None],
    *,
    together: bool,
) -> str | None:
    """Watch a model's `version` for `bake_s`; returns why it must go, or None when the time has passed.

    It is compared with what `former` did in the minutes before it took over; where the two serve `together`, with what
    that one does in the same time, and from the beginning when `former` has become another version. Cancelling ends the
    watch; what it found until then is forgotten.
    """
    limits = BakeLimits(
        max_error_rate=config.max_error_rate,
        max_latency_ratio=config.max_latency_ratio,
        min_requests=config.min_requests,
    )
    label, named = version.label, ""
    past = base = former_base = None
    deadline_s = time.monotonic() + config.bake_s
    while time.monotonic() < deadline_s:
        other = former()
        if other is not None and other.label != named:
            named = other.label
            past = Conduct.of(await traffic.past(model, named))
            counted = read_counts(await traffic.samples())
            base, former_base = counted.get((model, label), _NONE), counted.get((model, named), _NONE)
        await asyncio.sleep(min(1.0, config.bake_s / 10))
        if past is None or base is None or former_base is None:
            continue  # there is nothing to compare with yet
        counted = read_counts(await traffic.samples())
        same = Conduct.counted(counted.get((model, named), _NONE).since(former_base))
        after = Conduct.counted(counted.get((model, label), _NONE).since(base))
        reason = verdict(baseline(past, same, limits) if together else past, after, limits, named)
        if reason is not None:
            return reason
    return None
