"""An input in parts: what is sent at a time, put together, and what is said of what is missing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from headrace.client.cutting import Part
from headrace.client.encoding import prepare
from headrace.client.errors import BadRequest, ModelError, PartialFailure, Unavailable
from headrace.client.options import Options
from headrace.client.parts import predict, predict_in_turn
from headrace.client.replies import Prediction

pytestmark = pytest.mark.anyio

ROWS = list(range(10))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def repeated(body: bytes, **facts: Any) -> Prediction:
    """As a model that answers with its input."""
    return Prediction(json.dumps({"predictions": json.loads(body)["inputs"]}).encode(), **facts)


class Server:
    """Answers parts; `breaks` are the first rows of those that it does not answer."""

    def __init__(self, *breaks: int, error: Exception | None = None) -> None:
        self.sent: list[tuple[int, int]] = []
        self.most = self.now = 0
        self._breaks = breaks
        self._error = error or ModelError("no GPU", tries=2)

    async def ask(self, part: Part) -> Prediction:
        self.sent.append((part.start, part.stop))
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        if part.start in self._breaks:
            raise self._error
        return repeated(part.body, model=f"m/{part.start}", tries=2, took_s=float(part.start))


def options(**given: Any) -> Options:
    return Options(**{"max_rows": 3, "parallel": 2, **given})


async def test_an_input_that_fits_is_one_request() -> None:
    server = Server()
    done: list[int] = []
    answer = await predict(server.ask, prepare(ROWS), options(max_rows=10), done.append)
    assert (answer.value, server.sent, done) == (ROWS, [(0, 10)], [10])


async def test_parts_are_put_together_in_the_order_of_the_rows() -> None:
    server = Server()
    done: list[int] = []
    answer = await predict(server.ask, prepare(ROWS), options(), done.append)
    assert answer.value == ROWS
    assert sorted(server.sent) == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert (sum(done), answer.model, answer.tries, answer.took_s) == (10, "m/0", 8, 9.0)


async def test_a_part_that_is_answered_late_keeps_its_place() -> None:
    server, later = Server(), asyncio.Event()

    async def ask(part: Part) -> Prediction:
        if part.start == 0:
            await later.wait()
        answer = await server.ask(part)
        if part.start == 9:
            later.set()
        return answer

    answer = await predict(ask, prepare(ROWS), options(), lambda _: None)
    assert (answer.value, server.sent[-1]) == (ROWS, (0, 3))


@pytest.mark.parametrize("parallel", [1, 2, 3])
async def test_only_so_many_are_under_way_at_a_time(parallel: int) -> None:
    server = Server()
    await predict(server.ask, prepare(ROWS), options(max_rows=1, parallel=parallel), lambda _: None)
    assert server.most <= parallel
    assert len(server.sent) == 10


async def test_a_part_that_fails_stops_no_other_and_leaves_a_gap() -> None:
    server = Server(3)
    with pytest.raises(PartialFailure) as caught:
        await predict(server.ask, prepare(ROWS), options(), lambda _: None)
    assert caught.value.predictions == [0, 1, 2, None, None, None, 6, 7, 8, 9]
    assert [(one.start, one.stop) for one in caught.value.failures] == [(3, 6)]
    assert len(server.sent) == 4


@pytest.mark.parametrize(("max_tries", "sends_all"), [(None, False), (3, True)])
async def test_where_a_server_is_gone_until_the_deadline_no_more_is_sent(
    max_tries: int | None, *, sends_all: bool
) -> None:
    server = Server(0, 3, 6, 9, error=Unavailable("away"))
    with pytest.raises(PartialFailure) as caught:
        await predict(server.ask, prepare(ROWS), options(parallel=1, max_tries=max_tries), lambda _: None)
    assert caught.value.predictions == [None] * 10
    assert len(server.sent) == (4 if sends_all else 1)
    assert [(one.start, one.stop) for one in caught.value.failures][-1][1] == 10, "every row is accounted for"


async def test_answers_that_are_not_by_row_cannot_be_put_together() -> None:
    async def ask(part: Part) -> Prediction:
        return Prediction(b'{"predictions": [%d, 2, 3, 4]}' % part.start)

    with pytest.raises(ModelError, match="one prediction for each row"):
        await predict(ask, prepare(ROWS), options(), lambda _: None)


async def test_what_is_no_answer_is_no_model_server() -> None:
    async def ask(_: Part) -> Prediction:
        return Prediction(b"<html>", address="http://a")

    with pytest.raises(Unavailable, match="is this the address of a model server") as caught:
        await predict(ask, prepare([1]), options(), lambda _: None)
    assert caught.value.address == "http://a"


@pytest.mark.parametrize("at", [0, 7])
async def test_a_row_without_a_json_form_is_the_caller_s_mistake(at: int) -> None:
    rows: list[Any] = [*ROWS]
    rows[at] = object()
    with pytest.raises(BadRequest):
        await predict(Server().ask, prepare(rows), options(), lambda _: None)


def test_one_part_after_the_other_says_the_same() -> None:
    asked: list[bytes] = []

    def ask(body: bytes) -> Prediction:
        asked.append(body)
        if b"[3" in body:
            raise ModelError("no GPU")
        return repeated(body)

    with pytest.raises(PartialFailure) as caught:
        predict_in_turn(ask, prepare(ROWS), options(), lambda _: None)
    assert caught.value.predictions == [0, 1, 2, None, None, None, 6, 7, 8, 9]
    assert [json.loads(body)["inputs"] for body in asked] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert predict_in_turn(repeated, prepare(ROWS), options(max_rows=None), lambda _: None).value == ROWS
