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


def test_every_column_has_room_in_a_usual_terminal() -> None:
    head = shown(80, model("classification"), model("sentiment")).splitlines()[0]
    assert head.split() == ["service", "port", "state", "version", "replicas", "req/s", "p50", "p99", "errors"]
    head = shown(120, model("classification")).splitlines()[0]
    assert head.split()[-1] == "note"


def test_a_models_words_do_not_move_the_cursor() -> None:
    text = shown(200, model("bad\x1b[2J", state="FAILED", problem="one\ntwo\x1b[31m\x9b\u202ered\x07"))
    assert "one two" in text
    assert all(c.isprintable() or c == "\n" for c in text)


def test_nothing_is_served() -> None:
    assert shown(80).split()[0] == "service"
