"""Of whatever a process prints, few lines are logged, none is lost without being counted, and no call does much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.processes.output import (
    BYTES_A_SECOND,
    LINES_A_SECOND,
    LINES_AT_A_TIME,
    MOST_LINE_BYTES,
    SECONDS_SAVED,
    TAIL_LINES,
    Output,
    Said,
)

BURST_LINES = LINES_A_SECOND * SECONDS_SAVED


def take_all(output: Output, data: bytes, now_s: float) -> list[Said]:
    """Take one block, call by call."""
    said: list[Said] = []
    while data:
        some, rest = output.take(data, now_s)
        assert len(some) <= LINES_AT_A_TIME
        assert some or len(rest) < len(data)
        said, data = said + some, rest
    return said


def lines(said: list[Said]) -> list[str]:
    return [one.line for one in said if not one.left_out_bytes]


def test_a_quiet_process_is_logged_line_by_line() -> None:
    output = Output(0.0)
    assert lines(take_all(output, b"one\n\n  two \r\nth", 0.0)) == ["one", "  two"]
    assert lines(take_all(output, b"ree\n", 0.1)) == ["three"]
    assert lines(take_all(output, b"last", 0.2)) == []
    assert output.end() == [Said("last")]


def test_a_flood_is_counted_and_summed_up_once_a_second() -> None:
    output = Output(0.0)
    block = b"x\n" * 32_768
    said = [one for n in range(100) for one in take_all(output, block, n / 100)]
    assert said == [Said("x")] * BURST_LINES
    next_second = take_all(output, block, 1.0)
    left_out = 100 * 32_768 - BURST_LINES
    assert next_second[0] == Said(f"… {left_out:,} lines left out ({2 * left_out:,} bytes)", left_out, 2 * left_out)
    assert next_second[1:] == [Said("x")] * LINES_A_SECOND
    assert output.end()[0].left_out_lines == 32_768 - LINES_A_SECOND
    assert output.end() == []


def test_what_was_left_out_is_told_though_nothing_follows() -> None:
    output = Output(0.0)
    take_all(output, b"x\n" * (BURST_LINES + 1), 0.0)
    assert output.owes
    assert output.summary(0.9) == []
    assert output.summary(1.1) == [Said("… 1 line left out (2 bytes)", 1, 2)]
    assert not output.owes


def test_a_long_line_is_cut() -> None:
    output = Output(0.0)
    assert take_all(output, b"y" * 100_000, 0.0) == []
    (cut,) = take_all(output, b"y" * 1000 + b"\n", 0.0)
    assert cut.line == "y" * MOST_LINE_BYTES + f" … {101_000 - MOST_LINE_BYTES:,} bytes of this line left out"


def test_long_lines_have_a_budget_of_bytes() -> None:
    output = Output(0.0)
    said = [one for n in range(100) for one in take_all(output, (b"z" * 6000 + b"\n") * 10, n / 100)]
    assert sum(len(one.line) for one in said) <= BYTES_A_SECOND * SECONDS_SAVED + 6000
    assert said[-1].line == "z" * 6000


def test_lines_begin_where_lines_begin() -> None:
    """After a flood has been cut off in the middle of a line, the rest of that line is no line of its own."""
    output = Output(0.0)
    take_all(output, b"x\n" * BURST_LINES + b"begin", 0.0)
    take_all(output, b"left out", 0.5)
    (summary,) = take_all(output, b" still left out", 1.0)
    assert summary.left_out_lines == 0
    assert lines(take_all(output, b" and still\nwhole\n", 1.1)) == ["whole"]
    assert output.end()[0].left_out_lines == 1


def test_the_last_lines_are_kept_whatever_is_logged() -> None:
    output = Output(0.0)
    for data in (b"x\n" * 100_000, b"Traceback (most recent call last):\n", b"MemoryError: " + b"z" * 100_000):
        output.came(data)
        take_all(output, data, 0.0)
    assert output.last_lines[-1] == "z" * MOST_LINE_BYTES
    assert len(output.last_lines) <= TAIL_LINES
    output.came(b"\n".join(b"%d" % n for n in range(100)))
    assert output.last_lines[-2:] == ["98", "99"]


@given(
    st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 30), st.floats(0, 1.5)), max_size=5),
    st.lists(st.integers(10, 5000), min_size=1, max_size=5),
)
def test_every_line_is_logged_or_counted(flood: list[tuple[int, int, float]], cuts: list[int]) -> None:
    output = Output(0.0)
    now_s, printed, said = 0.0, 0, []
    for count, size, pause_s in flood:
        now_s += pause_s
        data = (b"x" * (size + 1) + b"\n") * count
        printed += count
        at = n = 0
        while at < len(data):
            cut = cuts[n % len(cuts)]
            said += take_all(output, data[at : at + cut], now_s)
            at, n = at + cut, n + 1
    said += output.end()
    assert len(lines(said)) + sum(one.left_out_lines for one in said) == printed
    assert len(lines(said)) <= LINES_A_SECOND * (SECONDS_SAVED + int(now_s) + 1)


@pytest.mark.parametrize("data", [b"\n" * 65536, b"\xff" * 65536, b"\r" * 65536], ids=["empty", "binary", "bars"])
def test_what_is_hardly_text_costs_no_more(data: bytes) -> None:
    output = Output(0.0)
    said = [one for _ in range(20) for one in take_all(output, data, 0.0)]
    assert sum(len(one.line) for one in said) <= 4 * BYTES_A_SECOND * SECONDS_SAVED
