"""Watches a version that has just taken over, beside the one that it replaced."""

from __future__ import annotations

import asyncio
import time

from headrace.config.tree import Rollout
from headrace.core.baking import BakeLimits, Conduct, verdict, window
from headrace.supervisor.means import Traffic


async def bake(traffic: Traffic, config: Rollout, model: str, label: str, former: str, *, beside: bool) -> str | None:
    """Watch a model's version `label` for `bake_s`; returns why it must go, or None when the time has passed.

    It is compared with the version `former`: with what that one did in the minutes before, or, where it still serves
    `beside` this one, with what it does in the same time.
    """
    limits = BakeLimits(
        max_error_rate=config.max_error_rate,
        max_latency_ratio=config.max_latency_ratio,
        min_requests=config.min_requests,
    )
    before = Conduct.of(await traffic.past(model, former))
    started = await traffic.samples()
    base, former_base = window(started, model, label), window(started, model, former)
    deadline_s = time.monotonic() + config.bake_s
    while time.monotonic() < deadline_s:
        await asyncio.sleep(min(1.0, config.bake_s / 10))
        now = await traffic.samples()
        if beside:
            before = window(now, model, former).minus(former_base).conduct
        reason = verdict(before, window(now, model, label).minus(base).conduct, limits, former)
        if reason is not None:
            return reason
    return None
