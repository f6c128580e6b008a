"""What notices event loops that stand still."""

from __future__ import annotations

import asyncio

import pytest

from headrace.supervisor.processes.liveness import EXIT_HUNG, Heartbeat, Pulse

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_who_answers_is_asked_again_and_is_not_hung() -> None:
    pulse = Pulse()
    asked = 0
    enough = asyncio.Event()
    hung: list[float] = []

    def ask() -> None:
        nonlocal asked
        asked += 1
        pulse.heard()
        if asked == 20:
            enough.set()

    pulse.start(0.02, ask, hung.append)
    await asyncio.wait_for(enough.wait(), 60)
    pulse.stop()
    assert hung == []


async def test_who_is_silent_is_told_once_with_how_long() -> None:
    pulse = Pulse()
    asked: list[None] = []
    hung: asyncio.Queue[float] = asyncio.Queue()
    pulse.start(0.02, lambda: asked.append(None), hung.put_nowait)
    assert await asyncio.wait_for(hung.get(), 60) >= 0.02
    asked.clear()
    for _ in range(5):
        await asyncio.sleep(0)
    assert (asked, hung.empty()) == ([], True), "it is asked no more"


async def test_without_a_limit_nobody_is_asked() -> None:
    pulse = Pulse()
    asked: list[None] = []
    pulse.start(None, lambda: asked.append(None), lambda _: None)
    await asyncio.sleep(0)
    pulse.heard()
    pulse.stop()
    assert asked == []


async def test_a_new_start_ends_the_one_before() -> None:
    pulse = Pulse()
    first: list[None] = []
    second = asyncio.Event()
    pulse.start(3600.0, lambda: first.append(None), lambda _: None)
    pulse.start(3600.0, second.set, lambda _: None)
    await asyncio.wait_for(second.wait(), 60)
    assert first == []
    pulse.stop()
    pulse.stop()


async def test_a_loop_that_turns_keeps_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr("headrace.supervisor.processes.liveness.os._exit", ended.append)
    beating = asyncio.create_task(Heartbeat(60.0).run())
    for _ in range(10):
        await asyncio.sleep(0)
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    assert ended == []
    assert EXIT_HUNG == 70
