"""`headrace status` in terminals of any width, with names of any length."""

from typing import Any

import pytest
from rich.console import Console

from headrace.cli.status import table

LONG = "a-name-that-nobody-would-type-" + "x" * 90
NOW = {"requests_per_s": 1234.5, "p50_ms": 1.5, "p99_ms": 250.0, "error_rate": 0.02}


def model(name: str, **other: Any) -> dict[str, Any]:
    told = {"name": name, "port": 5001, "url": None, "state": "SERVING", "ready": True, "held": False, "now": NOW}
    told |= {"replicas": {"ready": 1, "wanted": 2}, "current": {"label": f"{name}/1"}, "candidate": None}
    told |= {"sides": {}, "now_by_version": {f"{name}/2": {**NOW, "requests_per_s": 12.3}}}
    return {**told, "reason": "", "problem": "", "registry_problem": "", **other}


def shown(width: int, *models: dict[str, Any]) -> str:
    console = Console(width=width, highlight=False, force_terminal=False)
    with console.capture() as captured:
        console.print(table({"models": list(models)}, width))
    return captured.get()


@pytest.mark.parametrize("width", [50, 60, 80, 100, 160])
def test_what_matters_is_seen_in_any_terminal(width: int) -> None:
    text = shown(width, model("mood"), model(LONG), model("broken", state="FAILED", problem="the weights are missing"))
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    for column in ("service", "state", "version", "req/s", "p99", "errors"):
        assert column in lines[0]
    row = next(line for line in lines if line.startswith("mood ")).split()
    assert {"SERVING", "mood/1", "1,234.5", "2.0%"} <= {*row}
    assert text.count("x") >= 180, "a long name is folded, not cut"
    assert "the weights are missing" in " ".join(text.split())


@pytest.mark.parametrize("width", [36, 40, 45])
def test_names_and_states_are_seen_in_a_narrow_terminal(width: int) -> None:
    lines = shown(width, model("classification"), model("broken", state="FAILED", problem="no weights")).splitlines()
    assert max(map(len, lines)) <= width
    assert {"service", "state", "version", "errors"} <= {*lines[0].split()}
    assert "broken: no weights" in lines


def test_every_column_has_room_in_a_usual_terminal() -> None:
    head = shown(80, model("classification"), model("sentiment")).splitlines()[0]
    assert head.split() == ["service", "port", "state", "version", "replicas", "req/s", "p50", "p99", "errors"]
    head = shown(120, model("classification")).splitlines()[0]
    assert head.split()[-1] == "note"


def test_a_models_words_do_not_move_the_cursor() -> None:
    text = shown(200, model("bad\x1b[2J", state="FAILED", problem="one\ntwo\x1b[31m\x9b\u202ered\x07"))
    assert r"one\ntwo\x1b[31m" in text
    assert all(c.isprintable() or c == "\n" for c in text)


def test_nothing_is_served() -> None:
    assert shown(80).split()[0] == "service"


@pytest.mark.parametrize("width", [60, 160])
def test_what_a_wildcard_leaves_out_is_counted_and_named(width: int) -> None:
    left_out = {f"m{number}": "at_most: 28 models come before by name" for number in (28, 29)}
    wildcard = {"uri": "models:/*@live", "models": [f"m{number:02}" for number in range(28)], "left_out": left_out}
    console = Console(width=width, highlight=False, force_terminal=False)
    with console.capture() as captured:
        console.print(table({"models": [], "wildcard": {**wildcard, "more": False}}, width))
    text = " ".join(captured.get().split())
    assert "2 of 30 models of models:/*@live are left out: m28, m29: at_most: 28 models come before" in text


def side(**other: Any) -> dict[str, Any]:
    told = {"weight": 0, "shadow": False, "current": None, "candidate": None, "resting": None}
    return {**told, "problem": None, "missing": None, "registry_problem": None, **other}


@pytest.mark.parametrize("width", [80, 160])
def test_a_canary_and_a_shadow_have_lines_of_their_own(width: int) -> None:
    sides = {
        "canary": side(weight=20, current={"label": "mood/2", "ready": 1}),
        "dark": side(shadow=True, problem="mood/3: the weights are missing"),
        "same": side(weight=5, resting="mood/1"),
        "rising": side(weight=1, candidate={"label": "mood/4", "state": "LOADING"}),
    }
    lines = shown(width, model("mood", sides=sides)).splitlines()
    rows = {" ".join(line.split()[:2]): line.split()[2:] for line in lines if line.startswith("mood @")}
    assert rows["mood @canary"][:3] == ["SERVING", "mood/2", "1/2"]
    assert {"12.3", "2.0%"} <= {*rows["mood @canary"]}
    assert rows["mood @dark"][:3] == ["FAILED", "-", "-"]
    assert rows["mood @same"][:3] == ["SERVING", "mood/1", "-"]
    assert rows["mood @rising"][:2] == ["LOADING", "-"]
    text = " ".join(" ".join(lines).split())
    for note in ("weight 20", "a shadow; mood/3: the weights are missing", "no processes of its own"):
        assert note in text
