"""The bound on pages that are open, as an ASGI server meets it."""

from __future__ import annotations

import asyncio
import io
from typing import Any

from starlette.types import Message

from headrace.config.load import parse
from headrace.supervisor.admin.dashboard.live import MOST_LISTENERS
from headrace.supervisor.admin.server import make_app
from headrace.supervisor.app import Supervisor
from headrace.telemetry.logs import make_log

CONFIG = {"models": {"m": {"uri": "models:/m/1", "port": 0}}}


def test_a_page_counts_from_its_answer_on_and_until_it_is_closed() -> None:
    async def run() -> None:
        app = make_app(Supervisor(parse(CONFIG), make_log(stream=io.StringIO()), {}))
        statuses: asyncio.Queue[int] = asyncio.Queue()

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.put_nowait(message["status"])
                if message["status"] == 200:
                    await asyncio.Event().wait()  # a client that reads nothing

        def page() -> asyncio.Task[None]:
            scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/events", "root_path": ""}
            scope |= {
                "headers": [(b"host", b"localhost")],
                "query_string": b"",
                "asgi": {"version": "3.0", "spec_version": "2.4"},
            }
            return asyncio.create_task(app(scope, receive, send))

        pages = [page() for _ in range(MOST_LISTENERS)]
        assert [await statuses.get() for _ in pages] == [200] * MOST_LISTENERS
        await page()
        assert await statuses.get() == 429
        pages[0].cancel()
        await asyncio.wait(pages[:1])
        pages[0] = page()
        assert await statuses.get() == 200
        for one in pages:
            one.cancel()
        await asyncio.wait(pages)

    asyncio.run(asyncio.wait_for(run(), 60))
