"""A streamed answer on its way out: cut to size, and no faster than its reader."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from headrace_worker import wire
from headrace_worker.pieces import Pieces, PiecesApart

LARGE = bytes(range(256)) * 600  # 153,600 bytes


def may_go_on(pieces: Pieces) -> bool:
    return pieces.may_go_on


def all_of(pieces: Pieces) -> list[bytes]:
    chunks = []
    while (chunk := pieces.chunk()) is not None:
        chunks.append(bytes(chunk))
    return chunks


def test_a_large_piece_is_cut_and_a_small_one_is_not_joined() -> None:
    chunks = all_of(Pieces(iter([LARGE, b"a", b"b"])))
    assert [len(chunk) for chunk in chunks] == [65_536, 65_536, 22_528, 1, 1]
    assert b"".join(chunks) == LARGE + b"ab"


def test_what_was_sent_takes_credit_and_what_is_read_gives_it_back() -> None:
    pieces = Pieces(iter([b"x" * wire.STREAM_WINDOW_BYTES, b"y" * 10, b"z"]))
    assert may_go_on(pieces)
    pieces.chunk()
    assert not may_go_on(pieces)
    pieces.allow(1)
    assert may_go_on(pieces), "while any is left, a whole chunk may be sent"
    pieces.chunk()
    assert not may_go_on(pieces)
    pieces.allow(9)
    assert not may_go_on(pieces), "what was sent beyond the credit counts"
    pieces.allow(1)
    assert may_go_on(pieces)


@pytest.mark.parametrize("close", [Pieces.close, Pieces.end])
def test_the_model_is_told_that_nobody_reads_it_any_more(close: object) -> None:
    told: list[str] = []

    def made() -> Iterator[bytes]:
        try:
            yield b"a"
            yield b"b"
        finally:
            told.append("over")

    pieces = Pieces(made())
    pieces.chunk()
    close(pieces)  # type: ignore[operator]
    assert told == ["over"]
    Pieces(iter([b"a"])).close()  # one without a close of its own


def test_what_the_model_raises_is_raised() -> None:
    def made() -> Iterator[bytes]:
        yield b"a"
        raise LookupError("no more")

    pieces = Pieces(made())
    assert bytes(pieces.chunk() or b"") == b"a"
    with pytest.raises(LookupError, match="no more"):
        pieces.chunk()


def test_a_thread_of_its_own_waits_for_credit_and_is_told_of_the_end() -> None:
    pieces = PiecesApart(iter([b"x" * wire.STREAM_WINDOW_BYTES]))
    assert not may_go_on(pieces), "the loop asks for nothing"
    assert pieces.wait()
    pieces.chunk()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(pieces.wait)
        pieces.allow(1)
        assert waiting.result(60)
        pieces.allow(-1)
        waiting = pool.submit(pieces.wait)
        pieces.close()
        assert not waiting.result(60)
    pieces.allow(100)
    assert not pieces.wait(), "closed is closed"
