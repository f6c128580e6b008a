"""What a version must show before any traffic reaches it, against a worker that answers what the test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.config.tree import Checks
from headrace.core.errors import ModelLoadError, UsageError
from headrace.core.protocol.messages import WorkerRef
from headrace.supervisor.processes.worker_process import WorkerSpec
from headrace.supervisor.rollout.checks import Checker, Former, Refused, example_of
from headrace_worker import wire
from tests.unit.supervisor.rollout.fakes import Processes

pytestmark = pytest.mark.anyio

OLD = {"inputs": json.dumps([{"name": "x", "type": "double"}])}
NEW = {"inputs": json.dumps([{"name": "x", "type": "string"}])}


class Up(Processes):
    """Processes whose only replica listens on `socket`; without one there is no replica."""

    def __init__(self, socket: str = "", *, warm_up: dict[str, Any] | None = None, signature: Any = None) -> None:
        super().__init__(
            WorkerSpec(
                key="k", model="m", label="m/1", replicas=1, environ={}, kept_back=frozenset(), options={},
                share_imports=False,
                timeout_s=30.0, hung_after_s=None,
            ),
            lambda: None,
            None,
        )  # fmt: skip
        self.warm_up = warm_up or {"ok": True}
        self.facts = {"signature": signature}
        self._ready = (WorkerRef("w", socket),) if socket else ()


@asynccontextmanager
async def worker(folder: Path, answer: Callable[[bytes], wire.Answer | None]) -> AsyncIterator[str]:
    """The socket of a worker that answers each body so; None closes the connection."""

    over: set[asyncio.Future[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        over.add(done)
        frames = wire.FrameReader()
        while not writer.is_closing() and (data := await reader.read(65_536)):
            for frame in frames.feed(data):
                (body,) = wire.decode_batch(frame.payload).bodies
                made = answer(bytes(body))
                if made is None:
                    writer.close()
                    break
                writer.write(wire.encode_answers(frame.batch_id, [made]))
        writer.close()
        await writer.wait_closed()
        done.set_result(None)

    path = str(folder / "w.sock")
    async with await asyncio.start_unix_server(serve, path):
        yield path
        await asyncio.gather(*over)


def answering(value: Any, status: int = 200) -> Callable[[bytes], wire.Answer]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return lambda _: wire.Answer(status, b"application/json", body)


def checker(folder: Path, *golden: dict[str, Any], **config: Any) -> Checker:
    if golden:
        file = folder / "golden.jsonl"
        file.write_text("\n\n".join(map(json.dumps, golden)), encoding="utf-8")
        config["file"] = str(file)
    return Checker(msgspec.convert(config, Checks), 30.0)


async def check(one: Checker, processes: Processes, former: Former | None = None, *, strictly: bool = True) -> Any:
    return await one.check(processes, "/nowhere", former, strictly=strictly)


@pytest.mark.parametrize(
    ("config", "strictly", "refused"),
    [({}, True, True), ({}, False, False), ({"example": "warn"}, True, False)],
)
async def test_a_version_that_fails_on_its_own_example_is_refused_where_another_can_serve(
    tmp_path: Path, config: dict[str, Any], *, strictly: bool, refused: bool
) -> None:
    async with worker(tmp_path, answering({})) as socket:
        processes = Up(socket, warm_up={"ok": False, "reason": "no GPU"})
        if refused:
            with pytest.raises(Refused, match="its own example fails: no GPU"):
                await check(checker(tmp_path, **config), processes, strictly=strictly)
        else:
            assert await check(checker(tmp_path, **config), processes, strictly=strictly) is None


async def test_an_incompatible_signature_is_refused_and_may_pass_where_what_served_may_not_come_back(
    tmp_path: Path,
) -> None:
    async with worker(tmp_path, answering({})) as socket:
        processes = Up(socket, signature=NEW)
        with pytest.raises(Refused, match=r"its signature is incompatible: the input 'x' was double and is string"):
            await check(checker(tmp_path), processes, Former(OLD))
        with pytest.raises(ModelLoadError) as caught:
            await check(checker(tmp_path), processes, Former(OLD, serves=False))
        assert not isinstance(caught.value, Refused)
        await check(checker(tmp_path, signature="warn"), processes, Former(OLD))
        await check(checker(tmp_path), processes, None)


async def test_a_worker_that_is_gone_may_be_back_later(tmp_path: Path) -> None:
    for processes in (Up(), Up(str(tmp_path / "nobody.sock"))):
        with pytest.raises(ModelLoadError) as caught:
            await check(checker(tmp_path, {"request": {}}), processes)
        assert not isinstance(caught.value, Refused)
    async with worker(tmp_path, lambda _: None) as socket:
        with pytest.raises(ModelLoadError, match="a check was not answered"):
            await check(checker(tmp_path, {"request": {}}), Up(socket))


@pytest.mark.parametrize(
    ("golden", "answer", "wrong"),
    [
        ({"expected": {"predictions": [1.0]}}, {"predictions": [1.0000001]}, None),
        ({"expected": {"predictions": [1.0]}}, {"predictions": [1.001]}, "answered wrongly"),
        ({"expected": {"predictions": [1.0]}, "tolerance": 0.01}, {"predictions": [1.001]}, None),
        ({"expected": [0.0]}, [5e-7], None),  # as a difference, too
        ({"expected": [1]}, [1.0], None),
        ({"expected": [True]}, [1], "answered wrongly"),
        ({"expected": [1]}, [True], "answered wrongly"),
        ({"expected": [float("nan")]}, [float("nan")], None),
        ({"expected": [float("nan")]}, [0.0], "answered wrongly"),
        ({"expected": ["a"]}, ["b"], 'answered wrongly: \\["b"\\], expected \\["a"\\]'),
        ({"expected": ["a"]}, ["a", "a"], "answered wrongly"),
        ({"expected": {"a": 1}}, {"a": 1, "b": 1}, "answered wrongly"),
        ({"expected": {"a": [None, {"b": "c"}]}}, {"a": [None, {"b": "c"}]}, None),
        ({"expected": ["a"]}, b"no JSON", "was answered with what is not JSON"),
        ({}, b"anything", None),
        ({"status": 400}, {}, "was answered with 200, expected 400"),
    ],
)
async def test_golden_requests_are_answered_as_expected(
    tmp_path: Path, golden: dict[str, Any], answer: Any, wrong: str | None
) -> None:
    one = checker(tmp_path, {"request": 0}, {"request": {"inputs": [1]}, **golden})
    asked: list[bytes] = []

    def reply(body: bytes) -> wire.Answer:
        asked.append(body)
        return answering(answer)(body)

    async with worker(tmp_path, reply) as socket:
        if wrong is None:
            await check(one, Up(socket))
        else:
            with pytest.raises(Refused, match=f"golden request 2 of .*golden.jsonl .*{wrong}"):
                await check(one, Up(socket))
    assert [json.loads(body) for body in asked] == [0, {"inputs": [1]}]


async def test_an_expected_error_is_as_good_as_an_answer(tmp_path: Path) -> None:
    golden = {"request": {}, "status": 400, "expected": {"error_code": "BAD_REQUEST"}}
    async with worker(tmp_path, answering({"error_code": "BAD_REQUEST"}, 400)) as socket:
        await check(checker(tmp_path, golden), Up(socket))
    async with worker(tmp_path, answering({"error_code": "BAD_REQUEST"}, 500)) as socket:
        with pytest.raises(Refused, match="was answered with 500, expected 400"):
            await check(checker(tmp_path, golden), Up(socket))


async def test_the_example_is_measured_where_there_is_a_limit_and_compared_with_the_former_one(tmp_path: Path) -> None:
    asked: list[bytes] = []

    def reply(body: bytes) -> wire.Answer:
        asked.append(body)
        return wire.Answer(200, b"application/json", b"{}")

    (tmp_path / "serving_input_example.json").write_bytes(b'{"inputs": [1]}')
    assert example_of(str(tmp_path)) == b'{"inputs": [1]}'
    assert example_of(str(tmp_path / "none")) is None
    async with worker(tmp_path, reply) as socket:
        assert await checker(tmp_path).check(Up(socket), str(tmp_path), None, strictly=True) is None
        assert asked == []
        limited = checker(tmp_path, max_latency_ratio=2)
        assert await limited.check(Up(socket), "/nowhere", Former(None, 1e-9), strictly=True) is None, "no example"
        took_s = await limited.check(Up(socket), str(tmp_path), Former(None, 3600.0), strictly=True)
        assert took_s is not None
        assert took_s > 0
        assert set(asked) == {b'{"inputs": [1]}'}


async def test_a_slow_example_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "serving_input_example.json").write_bytes(b"{}")
    moments = iter(range(1000))
    monkeypatch.setattr("headrace.supervisor.rollout.checks.time.perf_counter", lambda: float(next(moments)))
    async with worker(tmp_path, answering({})) as socket:
        limited = checker(tmp_path, max_latency_ratio=2)
        assert await limited.check(Up(socket), str(tmp_path), Former(None, 0.5), strictly=True) == 1.0
        with pytest.raises(Refused, match=r"its example takes 1000.0 ms, 2.5 times the former version's"):
            await limited.check(Up(socket), str(tmp_path), Former(None, 0.4), strictly=True)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{\n", "golden.jsonl:1: not JSON"),
        (b'{"request": 1}\n\n[1]', "golden.jsonl:2: expected"),
        (b'{"requests": 1}', "golden.jsonl:1: expected"),
        (b"\xff\xfe", "golden.jsonl: the golden requests cannot be read"),
        (None, "golden.jsonl: the golden requests cannot be read"),
    ],
    ids=["no JSON", "no object", "no request", "no text", "no file"],
)
def test_a_file_of_golden_requests_that_is_none_is_refused_with_its_line(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    file = tmp_path / "golden.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=says):
        Checker(Checks(file=str(file)), 30.0)
