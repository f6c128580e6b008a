"""What a call can end in besides an answer."""

from __future__ import annotations

import pickle

from headrace.client.errors import BadRequest, ModelError, Overloaded, PartialFailure, RowsFailed, Unavailable


def test_an_error_says_what_is_known_and_nothing_else() -> None:
    assert str(BadRequest("no such column")) == "no such column"
    whole = Overloaded(
        "too much", status=503, code="OVERLOADED", request_id="r-1", tries=3, address="http://a", retry_after_s=2.0
    )
    assert str(whole) == "too much (HTTP 503, OVERLOADED, request r-1, 3 tries, at http://a)"
    assert str(Unavailable("away", tries=1)) == "away (1 try)"


def test_an_error_goes_to_another_process_whole() -> None:
    error = ModelError("why", status=500, code="MODEL_ERROR", request_id="r", tries=2, address="a", retry_after_s=1.5)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(again), again.args, vars(again)) == (ModelError, error.args, vars(error))
    partial = PartialFailure((RowsFailed(0, 2, error),), [None, None, 3], 3)
    again = pickle.loads(pickle.dumps(partial))  # noqa: S301 - our own
    assert (str(again), again.predictions, again.failures[0].stop) == (str(partial), [None, None, 3], 2)


def test_a_partial_failure_counts_rows_and_tries_and_names_the_first() -> None:
    first = Unavailable("away", status=502, request_id="r", tries=2, address="a")
    one = PartialFailure((RowsFailed(4, 5, first),), None, 10)
    assert str(one).startswith("1 of 10 rows was not answered (row 4); because: away (HTTP 502")
    rows = tuple(RowsFailed(10 * n, 10 * n + 3, first) for n in range(6))
    many = PartialFailure(rows, None, 100)
    assert many.message == (
        "18 of 100 rows were not answered (rows 0 to 2, 10 to 12, 20 to 22, 30 to 32, 40 to 42, ...); "
        "the first because: away"
    )
    assert (many.status, many.request_id, many.tries, many.address) == (502, "r", 12, "a")
