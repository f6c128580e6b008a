"""The headrace of a node, without Ray: real processes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from headrace.cluster.member import Member
from headrace.cluster.order import Order, Wanted
from tests.integration.serving import until
from tests.processes import family

ADDRESS = "127.0.0.9"


def order(generation: int, folder: Path, **settings: object) -> Order:
    (folder / "nowhere").mkdir(exist_ok=True)  # no model: it is told, and all else serves
    (folder / "nowhere" / "MLmodel").touch()
    told = {"models": {"topic": {"uri": "nowhere", "port": 0}}, "admin": {"port": 0}, **settings}
    return Order(generation=generation, text=json.dumps(told), folder=str(folder))


@pytest.fixture
def member(tmp_path: Path) -> Member:
    return Member(ADDRESS, tmp_path / "node", {**os.environ, "HEADRACE_HOME": str(tmp_path / "home")})


def test_it_serves_changes_and_ends_in_order(member: Member, tmp_path: Path) -> None:
    assert (member.state, member.pid, member.generation) == ("idle", None, None)
    try:
        member.serve(order(1, tmp_path))
        until(lambda: member.state == "serving", "its start")
        assert member.told == "0 of 1 models can answer"
        assert member.generation == 1
        pid = member.pid

        member.serve(order(2, tmp_path, bring_up_at_once=3))
        until(lambda: member.generation == 2, "a change that can be made")
        assert member.told == "0 of 1 models can answer"

        member.serve(order(3, tmp_path, home="elsewhere"))
        until(lambda: member.generation == 3, "a change that cannot")
        assert "not reloaded: home: cannot change while headrace runs" in member.told
        assert member.pid == pid
        assert member.state == "serving"
    finally:
        member.serve(None)
        until(lambda: member.state == "idle" and member.pid is None, "its end")
    assert not [one for one in family(os.getpid()) if "--on-node" in one.cmdline()]


def test_what_ends_is_told_with_its_last_words_and_tried_again(member: Member, tmp_path: Path) -> None:
    member.serve(order(1, tmp_path, nonsense=1))
    try:
        until(lambda: member.state == "failed", "its failure")
        assert "ended with 2; again in 1 s" in member.told
        assert "nonsense" in member.told
        member.serve(order(2, tmp_path))
        until(lambda: member.state == "serving", "a file that is right")
    finally:
        member.serve(None)
        until(lambda: member.state == "idle", "its end")


def test_a_node_is_wanted_unless_it_is_drained_or_all_end() -> None:
    one = Order(generation=1, text="", folder="/")
    assert Wanted(order=one).of("a") == one
    assert Wanted(order=one, drained=("a",)).of("a") is None
    assert Wanted(order=one, drained=("a",)).of("b") == one
    assert Wanted(order=one, ends=True).of("a") is None
