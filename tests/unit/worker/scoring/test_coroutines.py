"""Models that are coroutines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.worker.models import TEXT, ask, load, predictions

pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_coroutine_is_awaited_on_one_loop() -> None:
    loops = []

    async def later(data: Any, _params: Any) -> Any:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return list(data["text"])

    scorer, _ = load(later, TEXT)
    for text in ("a", "b"):
        assert predictions(ask(scorer, {"dataframe_records": [{"text": text}]})[0]) == [text]
    assert len(set(map(id, loops))) == 1


@pytest.mark.parametrize("raised", [ValueError("why"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_a_coroutine_that_fails_ends_nothing_else(raised: BaseException) -> None:
    async def fail(data: Any, _params: Any) -> Any:
        if list(data["text"]) == ["fail"]:
            raise raised
        return list(data["text"])

    scorer, _ = load(fail, TEXT)
    answer = ask(scorer, {"dataframe_records": [{"text": "fail"}]})[0]
    assert answer.status in {400, 500}
    assert predictions(ask(scorer, {"dataframe_records": [{"text": "a"}]})[0]) == ["a"]
