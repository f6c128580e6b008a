"""What a worker tells of the exceptions that a model raises."""

from concurrent.futures import ThreadPoolExecutor

from headrace_worker.scoring.errors.failures import MOST_KINDS, MOST_TEXT, MOST_TRACE, Failures


def _raise(error: Exception) -> None:
    raise error


def raised(error: Exception) -> Exception:
    try:
        _raise(error)
    except Exception as caught:  # noqa: BLE001 - whatever it is
        return caught
    raise AssertionError


class Odd(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


def test_a_kind_is_told_with_its_places_and_its_traceback_once() -> None:
    failures = Failures()
    failures.add([0, 2], raised(ValueError("first")))
    failures.add([5], raised(ValueError("second")))
    (told,) = failures.take()
    assert (told["type"], told["text"], told["places"]) == ("ValueError", "first", [0, 2, 5])
    assert told["where"].rpartition(":")[0].endswith("test_failures.py")
    assert "ValueError: first" in told["traceback"]
    assert failures.take() == []
    failures.add([1], raised(ValueError("third")))
    assert failures.take()[0]["traceback"] == "", "the supervisor has it already"


def test_what_is_raised_elsewhere_or_is_of_another_type_is_another_kind() -> None:
    failures = Failures()
    failures.add([0], raised(ValueError("a")))
    failures.add([1], raised(TypeError("a")))
    try:
        int("x")
    except ValueError as error:
        failures.add([2], error)
    assert [one["places"] for one in failures.take()] == [[0], [1], [2]]


def test_an_exception_of_any_make_is_told_within_bounds() -> None:
    failures = Failures()
    failures.add([0], raised(Odd()))
    failures.add([1], raised(ValueError("x" * 10**6)))
    failures.add([2], ValueError("never raised"))
    odd, long, unraised = failures.take()
    assert odd["type"].endswith("Odd")
    assert (len(long["text"]), len(long["traceback"]) <= MOST_TRACE) == (MOST_TEXT, True)
    assert unraised["where"] == ""


def test_kinds_are_bounded_and_nothing_is_left_uncounted() -> None:
    failures = Failures()
    for number in range(3 * MOST_KINDS):
        failures.add([number], raised(type(f"E{number}", (Exception,), {})()))
    told = failures.take()
    assert len(told) == MOST_KINDS
    assert sorted(place for one in told for place in one["places"]) == list(range(3 * MOST_KINDS))


def test_threads_that_take_turns_are_told_of_their_own_answers() -> None:
    failures = Failures()
    mine, another = object(), object()
    failures.told(mine, raised(ValueError("mine")))

    def elsewhere() -> list[str]:
        failures.told(another, raised(ValueError("another's")))
        failures.settle([object(), another])
        return [f"{one['text']} {one['places']}" for one in failures.take()]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(elsewhere).result(60) == ["another's [1]"]
    failures.settle([mine, mine])
    assert [(one["text"], one["places"]) for one in failures.take()] == [("mine", [0, 1])]
