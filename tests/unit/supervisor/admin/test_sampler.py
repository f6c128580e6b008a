"""Who waits for news of the counters misses none."""

import asyncio
import io

from headrace.core.telemetry.totals import Sample
from headrace.supervisor.admin.sampler import Sampler
from headrace.telemetry.logs import make_log


def test_what_happens_while_one_looks_is_news() -> None:
    """A page that was being drawn when headrace began to drain waited for the next news, and was cut off instead."""

    async def trial() -> None:
        async def samples() -> list[Sample]:
            return []

        sampler = Sampler(samples, make_log(stream=io.StringIO()))
        news = sampler.news
        sampler.wake()  # before it is waited for
        await asyncio.wait_for(news.wait(), 60)
        assert not sampler.news.is_set()

    asyncio.run(trial())
