"""A file that changes in the ways in which files do."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from headrace.supervisor.file_watch import FileWatch
from tests.unit.supervisor.rollout.fakes import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def watched(file: Path) -> AsyncIterator[list[str]]:
    """What the file held each time that a change was noticed."""
    seen: list[str] = []
    read = file.read_text

    async def note() -> None:
        seen.append(read())

    task = asyncio.create_task(FileWatch(file, note, look_s=0.01).run())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_each_content_that_stays_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text("one")

    async def nothing() -> None:
        pass

    watch = FileWatch(file, nothing)
    one, two, half = (hashlib.sha256(text.encode()).digest() for text in ("one", "two", "tw"))
    looks = [one, one, half, two, two, two, None, two, two, None, None, one, one, one]
    assert [at for at, content in enumerate(looks) if watch.saw(content)] == [4, 12]


async def test_a_file_that_is_written_or_replaced_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text("one")
    async with watched(file) as seen:
        file.write_text("two")
        await until(lambda: seen == ["two"])
        (tmp_path / "new").write_text("three")
        (tmp_path / "new").rename(file)
        await until(lambda: seen == ["two", "three"])


async def test_a_configmap_s_links_are_followed(tmp_path: Path) -> None:
    """As the kubelet does it: headrace.yaml -> ..data/headrace.yaml, ..data -> ..1, then ..data is replaced."""
    for number in ("..1", "..2"):
        (tmp_path / number).mkdir()
        (tmp_path / number / "headrace.yaml").write_text(number)
    (tmp_path / "..data").symlink_to("..1")
    file = tmp_path / "headrace.yaml"
    file.symlink_to("..data/headrace.yaml")
    async with watched(file) as seen:
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await until(lambda: seen == ["..2"])


async def test_a_file_that_was_not_there_is_noticed_when_it_comes(tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"
    async with watched(file) as seen:
        file.write_text("one")
        await until(lambda: seen == ["one"])
