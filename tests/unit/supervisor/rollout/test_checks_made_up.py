"""An example made up after a version's signature, tried at a worker that is a socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from headrace.config.tree import Checks
from headrace.core.protocol.messages import WorkerRef
from headrace.core.rollout.lifecycle import Life
from headrace.supervisor.rollout.checks import Checker, MadeUp
from headrace.supervisor.rollout.version import Version
from headrace_worker import wire
from tests.unit.supervisor.rollout.fakes import Processes, resolved, spec

pytestmark = pytest.mark.anyio

SIGNATURE = {"inputs": json.dumps([{"type": "string", "name": "text"}])}


class Worker(Processes):
    """One replica behind a socket. `killed` says why it was."""

    def __init__(self, socket: str, **facts: Any) -> None:
        super().__init__(spec("topic/1"), lambda: None, None)
        self.facts = {"signature": SIGNATURE, **facts}
        self.warm_up = {"ok": None}
        self.killed: list[str] = []
        self._ready = (WorkerRef("w0", socket),)

    def kill(self, replica_id: str, why: str, end: str) -> None:
        assert (replica_id, end) == ("w0", "hung")
        self.killed.append(why)


@asynccontextmanager
async def answering(
    place: Path, status: int | None, body: bytes, notes: bytes = b""
) -> AsyncIterator[tuple[Worker, list[bytes]]]:
    """A worker that answers so (None: never), and what it was asked."""
    asked: list[bytes] = []
    connections: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(cast("asyncio.Task[None]", asyncio.current_task()))
        frames = wire.FrameReader()
        while data := await reader.read(65536):
            for frame in frames.feed(data):
                asked.extend(bytes(one) for one in wire.decode_batch(frame.payload).bodies)
                if status is not None:
                    answer = wire.Answer(status, b"application/json", body)
                    writer.write(wire.encode_answers(frame.batch_id, [answer], notes=notes))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, place / "w.sock")
    async with server:
        yield Worker(str(place / "w.sock")), asked
        await asyncio.gather(*connections)


async def test_a_version_without_an_example_is_asked_what_its_signature_says(tmp_path: Path) -> None:
    async with answering(tmp_path, 200, b'{"predictions": ["pos"]}') as (worker, asked):
        made_up = await Checker(Checks(), 30.0).try_made_up(worker)
        assert made_up == MadeUp()
        assert not made_up.failed
        table = {"columns": ["text"], "data": [["a text"]]}
        assert [json.loads(body) for body in asked] == [{"dataframe_split": table}]


async def test_why_it_fails_is_told(tmp_path: Path) -> None:
    async with answering(tmp_path, 400, b'{"error_code": "BAD_REQUEST", "message": "no\\n  weights"}') as (worker, _):
        made_up = await Checker(Checks(), 30.0).try_made_up(worker)
        assert made_up == MadeUp("answered with 400: no weights")
        assert worker.killed == []


async def test_the_exception_is_told_and_kept(tmp_path: Path) -> None:
    raised = {"type": "KeyError", "where": "m.py:7", "text": "'weights'", "traceback": "Traceback ...", "places": [0]}
    notes = json.dumps({"failures": [raised]}).encode()
    async with answering(tmp_path, 400, b'{"message": "an error", "stack_trace": "..."}', notes) as (worker, _):
        made_up = await Checker(Checks(), 30.0).try_made_up(worker)
    assert made_up is not None
    assert made_up.reason == "answered with 400: KeyError: 'weights'"
    version = Version("topic", "production", 1, resolved("1"), Life())
    version.tried_made_up(made_up)
    (entry,) = version.failures.describe(texts=True)
    assert {key: entry[key] for key in ("exception", "where", "traceback", "count", "status")} == {
        "exception": "KeyError", "where": "m.py:7", "traceback": "Traceback ...", "count": 1, "status": 400
    }  # fmt: skip


@pytest.mark.parametrize("notes", [b"", b"[]", b'{"failures": 5}', b"\xff", b'{"failures": [{"type": 5}]}'])
async def test_notes_that_say_nothing_leave_the_answers_own_words(tmp_path: Path, notes: bytes) -> None:
    async with answering(tmp_path, 400, b'{"message": "no weights"}', notes) as (worker, _):
        assert await Checker(Checks(), 30.0).try_made_up(worker) == MadeUp("answered with 400: no weights")


async def test_a_worker_that_hangs_at_it_is_replaced(tmp_path: Path) -> None:
    async with answering(tmp_path, None, b"") as (worker, _):
        made_up = await Checker(Checks(), 0.05).try_made_up(worker)
        assert made_up is not None
        assert made_up.failed
        assert worker.killed == ["it did not answer a made-up example"]


async def test_nothing_is_made_up_where_there_is_something_better_or_no_way(tmp_path: Path) -> None:
    golden = tmp_path / "golden.jsonl"
    golden.write_text('{"request": {"inputs": [1]}}\n', encoding="utf-8")
    async with answering(tmp_path, 200, b"{}") as (worker, asked):
        assert await Checker(Checks(file=str(golden)), 30.0).try_made_up(worker) is None
        worker.warm_up = {"ok": True}
        assert await Checker(Checks(), 30.0).try_made_up(worker) is None
        worker.warm_up, worker.facts = {"ok": None}, {}
        assert await Checker(Checks(), 30.0).try_made_up(worker) is None
        worker.facts = {"signature": {"inputs": "[]"}}
        assert await Checker(Checks(), 30.0).try_made_up(worker) is None
        assert asked == []
