"""A chain of entries shows what was done to it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.admin.audit import Broken, Chain, Seen, continued, end_of, read, seal

ENTRIES = [{"at": "2026-01-31", "what": what, "who": "ä"} for what in ("asked", "answered", "serving", "refused")]


def chained(entries: list[dict[str, str]]) -> list[bytes]:
    lines, last = [], Seen()
    for entry in entries:
        line, last = seal(entry, last)
        lines.append(line.removesuffix(b"\n"))
    return lines


def followed(lines: list[bytes]) -> Chain:
    chain = Chain()
    for line in lines:
        chain.follow(line)
    chain.end()
    return chain


def test_entries_are_json_and_come_back() -> None:
    lines = chained(ENTRIES)
    chain = Chain()
    for number, (line, entry) in enumerate(zip(lines, ENTRIES, strict=True), 1):
        found = chain.follow(line)
        assert found is not None
        assert {key: found[key] for key in entry} == entry
        assert found["number"] == number
        assert json.loads(line)["sha256"] == chain.last.sha256
    assert end_of(lines) == (chain.last, [])


@given(st.data())
def test_whatever_is_done_to_a_line_but_the_last_shows(data: st.DataObject) -> None:
    lines = chained(ENTRIES)
    at = data.draw(st.integers(0, len(lines) - 2))
    how = data.draw(st.sampled_from(["remove", "swap", "repeat", "byte", "garbage", "replace"]))
    if how == "remove":
        del lines[at]
    elif how == "swap":
        lines[at], lines[at + 1] = lines[at + 1], lines[at]
    elif how == "repeat":
        lines.insert(at, lines[at])
    elif how == "garbage":
        lines.insert(at, data.draw(st.binary().filter(lambda added: b"\n" not in added)))
    elif how == "replace":
        before = read(lines[at - 1])[1] if at else Seen().sha256
        lines[at] = seal({"what": "forged"}, Seen(at, before))[0].removesuffix(b"\n")
    else:
        place = data.draw(st.integers(0, len(lines[at]) - 1))
        other = data.draw(st.integers(0, 255).filter(lambda value: value not in {lines[at][place], 10}))
        lines[at] = lines[at][:place] + bytes([other]) + lines[at][place + 1 :]
    with pytest.raises(Broken):
        followed(lines)


@given(st.integers(0, 3), st.lists(st.integers(0, 60), min_size=1, max_size=3))
def test_lines_that_were_cut_off_are_told_and_break_nothing_if_the_next_entry_knows(at: int, cuts: list[int]) -> None:
    lines = chained(ENTRIES[:at])
    last = followed(lines).last
    torn = [seal(ENTRIES[0], last)[0][:cut] for cut in cuts]
    assert followed([*lines, *torn]).torn == len(torn)
    line, last = seal(continued(torn), last)
    line_after, _ = seal(ENTRIES[1], last)
    whole = [*lines, *torn, line.removesuffix(b"\n"), line_after.removesuffix(b"\n")]
    assert (followed(whole).torn, followed(whole).last.number) == (len(torn), at + 2)
    with pytest.raises(Broken):
        followed([*lines, *torn[1:], b"x", *whole[at + len(torn) :]])


def test_what_a_cut_end_shows() -> None:
    lines = chained(ENTRIES)
    assert followed(lines[:2]).last.number == 2, "whole by itself: only a hash that is kept elsewhere shows it"
    assert followed(lines[:2]).last.sha256 != followed(lines).last.sha256
