"""Watches a version that has just taken over, beside the one that it replaced."""

from __future__ import annotations

import asyncio
import time

from headrace.config.tree import Rollout
from headrace.core.baking import BakeLimits, verdict, window
from headrace.supervisor.means import Traffic


async def bake(traffic: Traffic, config: Rollout, model: str, label: str, old_label: str) -> str | None:
    """Watch a model's version `label` for `bake_s`; returns why it must go, or None when the time has passed."""
    limits = BakeLimits(
        max_error_rate=config.max_error_rate,
        max_latency_ratio=config.max_latency_ratio,
        min_requests=config.min_requests,
    )
    started = await traffic.samples()
    before, base = window(started, model, old_label), window(started, model, label)
    deadline_s = time.monotonic() + config.bake_s
    while time.monotonic() < deadline_s:
        await asyncio.sleep(min(1.0, config.bake_s / 10))
        now = window(await traffic.samples(), model, label)
        reason = verdict(before, now.minus(base), limits)
        if reason is not None:
            return reason
    return None
