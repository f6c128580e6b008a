"""The distinct failures of a version."""

from headrace.core.protocol.messages import Failure
from headrace.core.telemetry.failure_book import MOST_IDS, MOST_KINDS, FailureBook


def failure(where: str = "model.py:1", **more: object) -> Failure:
    told = {"type": "ValueError", "where": where, "text": "no", "traceback": "Traceback: no", **more}
    return Failure(**told)  # type: ignore[arg-type]


def test_failures_of_one_kind_are_one_entry_with_the_first_and_the_last_time() -> None:
    book = FailureBook()
    assert book.add(failure(count=2, request_ids=("a", "b")), 1.0)
    assert not book.add(failure(text="no, again", traceback="", count=3, status=400, request_ids=("c",)), 5.0)
    (entry,) = book.describe(texts=True)
    assert (entry["count"], entry["first"], entry["last"], entry["status"]) == (5, 1.0, 5.0, 400)
    assert (entry["text"], entry["traceback"]) == ("no, again", "Traceback: no")
    assert entry["request_ids"] == ["a", "b", "c"]


def test_the_newest_is_first_and_the_one_unseen_for_longest_makes_room() -> None:
    book = FailureBook()
    for number in range(MOST_KINDS):
        book.add(failure(f"model.py:{number}"), float(number))
    book.add(failure("model.py:0"), 100.0)
    book.add(failure("model.py:new"), 101.0)
    where = [entry["where"] for entry in book.describe(texts=True)]
    assert where[:2] == ["model.py:new", "model.py:0"]
    assert len(where) == len(book) == MOST_KINDS
    assert "model.py:1" not in where


def test_texts_are_left_out_where_they_may_hold_personal_data() -> None:
    book = FailureBook()
    book.add(failure(text="Jane Doe", traceback="... Jane Doe ..."), 1.0)
    assert "Jane" not in str(book.describe(texts=False))
    assert book.describe(texts=False)[0]["exception"] == "ValueError"


def test_request_ids_are_bounded() -> None:
    book = FailureBook()
    for number in range(100):
        book.add(failure(request_ids=(f"{number}",)), 1.0)
    assert book.describe(texts=True)[0]["request_ids"] == [str(n) for n in range(100 - MOST_IDS, 100)]
