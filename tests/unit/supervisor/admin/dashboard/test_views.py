"""300 models: the page and its live updates stay small, and the work grows with the models, not with their square."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

from headrace.supervisor.admin.dashboard import listing, views
from headrace.supervisor.admin.version_memory import VersionMemory
from tests.dashboard_rig.stage import Stage, load_of, many, served

KB = 1000


async def events(client: httpx.AsyncClient, url: str) -> AsyncGenerator[str]:
    """What a page is sent, event by event."""
    async with client.stream("GET", url, timeout=60) as response:
        text = ""
        async for chunk in response.aiter_text():
            text += chunk
            while "\n\n" in text:
                event, _, text = text.partition("\n\n")
                yield event


def test_bytes_of_the_page_and_of_its_updates(tmp_path: Path) -> None:
    async def run() -> None:
        stage = Stage(tmp_path)
        await many(stage, 300)
        load = load_of(stage, *stage.models, at_least=1)
        async with served(stage) as admin, httpx.AsyncClient() as client:
            page = await client.get(admin)
            assert page.text.count("<tbody data-key") == listing.MOST_SHOWN
            assert len(page.content) < 150 * KB
            assert len((await client.get(f"{admin}/?show=all")).content) < 600 * KB
            for address, most_first, most_next in (
                ("?sort=-rate", 150 * KB, 40 * KB),
                ("?sort=-rate&show=all", 600 * KB, 130 * KB),
            ):
                live = events(client, f"{admin}/events{address}")
                assert (await anext(live)).startswith("event: hello")
                first = await anext(live)
                assert len(first.encode()) < most_first
                for step in range(3):  # every model has other numbers each time, and another place
                    load(7 * step)
                    await stage.pass_time(1)
                    following = await anext(live)
                    parts = json.loads(following.partition("data: ")[2])
                    assert any(isinstance(part, list) for part in parts)
                    assert len(following.encode()) < most_next, f"{address}: update {step}"
                await live.aclose()

    asyncio.run(asyncio.wait_for(run(), 300))


def calls(stage: Stage) -> int:
    """How many calls one picture of all models takes."""
    count = 0

    def counted(_: FrameType, event: str, __: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    memory = VersionMemory()
    sys.setprofile(counted)
    try:
        views.overview(stage, {name: [] for name in stage.models}, listing.View(whole=True), memory)
    finally:
        sys.setprofile(None)
    return count


def test_three_times_the_models_are_three_times_the_work(tmp_path: Path) -> None:
    async def run() -> None:
        counts = []
        for number in (100, 300):
            stage = Stage(tmp_path / str(number))
            await many(stage, number)
            counts.append(calls(stage))
            await stage.end()
        assert counts[1] < 3.3 * counts[0]

    asyncio.run(asyncio.wait_for(run(), 300))
