"""Processes that cannot be started: whoever keeps them waits and tries again, and leaves nothing open."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from headrace.config.load import parse
from headrace.core.protocol.messages import Configure, Limits, Recording
from headrace.supervisor.processes.agent import RegistryAgent
from headrace.supervisor.processes.gateways import Gateways
from headrace.supervisor.processes.recorder import RecorderProcess
from headrace.telemetry.logs import Log, make_log


def gateways(log: Log) -> Coroutine[Any, Any, None]:
    configure = Configure(index=0, listeners=(), limits=Limits(), drain_s=1.0)
    return Gateways([configure], os.environ, log, hung_after_s=None, on_news=lambda _: None).run()


def agent(log: Log) -> Coroutine[Any, Any, None]:
    return RegistryAgent({}, os.environ, log, timeout_s=1.0, fetch_timeout_s=1.0, hung_after_s=None).run()


def recorder(log: Log) -> Coroutine[Any, Any, None]:
    config = parse({"models": {"m": {"uri": "models:/m@production", "port": 0}}, "log": {"access": "full"}})
    return RecorderProcess(config, Recording(socket="unused"), os.environ, log, sys.__stderr__).run()


def open_files() -> int:
    return len([*Path("/dev/fd").iterdir()])


@pytest.mark.parametrize("keeper", [gateways, agent, recorder])
def test_a_process_that_cannot_be_started_is_tried_again(
    keeper: Callable[[Log], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    told = io.StringIO()

    async def keep() -> None:
        keeping = asyncio.create_task(keeper(make_log("json", stream=told)))
        counts = []
        async with asyncio.timeout(60):
            for failures in (1, 2):
                while told.getvalue().count("not started: [Errno 2]") < failures:
                    assert not keeping.done()
                    await asyncio.sleep(0.01)
                counts.append(open_files())
        assert counts[0] == counts[1]
        keeping.cancel()

    asyncio.run(keep())
