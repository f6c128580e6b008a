"""Calls beside each other in one scorer."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from headrace_worker.scoring.turns import TURNS, Turns
from tests.unit.worker.models import NUMBER, TEXT, ask, error, load, predictions

pytestmark = pytest.mark.filterwarnings("ignore")


def test_models_run_beside_each_other_and_nothing_else_does() -> None:
    calls = 8
    together = threading.Barrier(calls, timeout=60)

    def meet(data: Any, _params: Any) -> Any:
        together.wait()  # broken unless all calls are here at the same time
        return list(data["text"])

    scorer, _ = load(meet, TEXT)

    def call(number: int) -> Any:
        with TURNS.mine():
            return ask(scorer, {"dataframe_records": [{"text": str(number)}]})[0]

    with ThreadPoolExecutor(calls) as pool:
        answers = list(pool.map(call, range(calls)))
    assert [predictions(answer) for answer in answers] == [[str(number)] for number in range(calls)]


@pytest.mark.parametrize("form", ["records", "csv"])
def test_calls_that_fail_beside_each_other_are_told_of_their_own_input(form: str) -> None:
    calls = 6
    together = threading.Barrier(calls, timeout=60)

    def fail(data: Any, _params: Any) -> Any:
        together.wait()
        raise ValueError(f"no {data['x'].iloc[0]}")

    scorer, _ = load(fail, NUMBER)

    def call(number: int) -> Any:
        with TURNS.mine():
            if form == "csv":
                return ask(scorer, b"x\n%d.0\n" % number, head=b"text/csv\n\n")[0]
            return ask(scorer, {"dataframe_records": [{"x": float(number)}]})[0]

    with ThreadPoolExecutor(calls) as pool:
        answers = list(pool.map(call, range(calls)))
    for number, answer in enumerate(answers):
        assert f"no {number}.0" in json.dumps(error(answer)), error(answer)


def test_only_who_has_the_turn_can_let_others_have_it() -> None:
    turns = Turns()
    with turns.away():
        pass
    with turns.mine(), ThreadPoolExecutor(1) as pool, turns.away():
        with turns.away():
            pass
        assert pool.submit(_has_it, turns).result(60)
    with pytest.raises(KeyError), turns.mine(), turns.away():
        raise KeyError
    assert _has_it(turns)


def _has_it(turns: Turns) -> bool:
    with turns.mine():
        return True
