"""The pieces of a streamed answer, from a source that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from headrace.client.errors import ModelError, Unavailable
from headrace.client.streams import AsyncStream, Opened

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Source:
    """Opens as what it is given; `closed` counts how often it was let go of."""

    def __init__(self, *blocks: bytes | Exception, hangs: bool = False) -> None:
        self.opened = self.closed = 0
        self._blocks = blocks
        self._hangs = hangs

    async def open(self) -> Opened:
        self.opened += 1
        return self._come(), self._close

    async def _come(self) -> AsyncIterator[bytes]:
        for block in self._blocks:
            if isinstance(block, Exception):
                raise block
            yield block
        if self._hangs:
            await asyncio.Event().wait()

    async def _close(self) -> None:
        self.closed += 1

    def stream(self, idle_s: float | None = 60.0) -> AsyncStream:
        return AsyncStream(self.open, idle_s)


async def taken(stream: AsyncStream) -> tuple[list[Any], Exception | None]:
    """All pieces, and the error that came after them."""
    pieces = []
    try:
        async for piece in stream:
            pieces.append(piece)  # noqa: PERF401 - those before an error are wanted, too
    except Exception as error:  # noqa: BLE001 - what it is, the test says
        return pieces, error
    return pieces, None


async def test_pieces_come_in_order_however_they_are_cut_and_the_connection_is_let_go_of() -> None:
    data = b'data: "a"\n\ndata: {"b": 1}\n\ndata: no JSON\n\ndata: [DONE]\n\n'
    for size in (1, 7, len(data)):
        source = Source(*(data[at : at + size] for at in range(0, len(data), size)))
        assert await taken(source.stream()) == (["a", {"b": 1}, "no JSON"], None)
        assert (source.opened, source.closed) == (1, 1)


async def test_nothing_is_sent_before_the_first_piece_is_asked_for() -> None:
    source = Source(b"data: 1\n\n")
    stream = source.stream()
    assert source.opened == 0
    await stream.aclose()
    assert await taken(stream) == ([], None)
    assert (source.opened, source.closed) == (0, 0)


async def test_a_model_that_fails_in_the_middle_is_an_error_after_what_it_has_said() -> None:
    error = b'event: error\ndata: {"error_code": "MODEL_ERROR", "message": "no GPU"}\n\n'
    source = Source(b"data: 1\n\ndata: 2\n\n" + error)
    pieces, raised = await taken(source.stream())
    assert pieces == [1, 2]
    assert isinstance(raised, ModelError)
    assert (raised.message, raised.code) == ("no GPU", "MODEL_ERROR")
    assert source.closed == 1


@pytest.mark.parametrize(
    ("blocks", "says"),
    [
        ([b"data: 1\n\n"], "the stream broke off after 1 pieces: its end did not come"),
        ([b"data: 1\n\n", Unavailable("reset")], "the stream broke off after 1 pieces: reset"),
    ],
)
async def test_a_stream_that_breaks_off_is_no_whole_answer(blocks: list[Any], says: str) -> None:
    source = Source(*blocks)
    pieces, raised = await taken(source.stream())
    assert pieces == [1]
    assert isinstance(raised, Unavailable)
    assert raised.message == says
    assert source.closed == 1


async def test_a_stream_that_falls_silent_is_given_up() -> None:
    source = Source(b"data: 1\n\n", hangs=True)
    pieces, raised = await taken(source.stream(0.01))
    assert pieces == [1]
    assert isinstance(raised, Unavailable)
    assert raised.message.endswith("nothing came for 0.01 s")
    assert source.closed == 1


async def test_a_whole_answer_is_taken_piece_by_piece() -> None:
    async def open_() -> Opened:
        async def close() -> None:
            pass

        made: Iterator[Any] = iter([1, 2])
        return made, close

    assert await taken(AsyncStream(open_, None)) == ([1, 2], None)


async def test_who_leaves_early_lets_go_of_the_connection_once() -> None:
    source = Source(b"data: 1\n\ndata: 2\n\n", hangs=True)
    async with source.stream() as stream:
        assert await anext(stream) == 1
    await stream.aclose()
    assert source.closed == 1
    assert await stream.take() == (True, 2), "what has come is there"
    assert await stream.take() == (False, None)
