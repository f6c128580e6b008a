from headrace.core.processes.health import Health


def test_it_takes_failures_in_a_row_to_be_unwell_and_successes_in_a_row_to_be_well() -> None:
    health = Health(failures=3, successes=2)
    seen = [health.saw(outcome) for outcome in ("a", "b", None, "c", "d")]
    assert (seen, health.well) == ([False] * 5, True)
    assert health.saw("e")
    assert (health.well, health.reason) == (False, "e")
    assert not health.saw("f")
    assert health.reason == "f", "the latest"
    assert [health.saw(outcome) for outcome in (None, "g", None)] == [False] * 3
    assert health.saw(None)
    assert health.well


def test_a_failure_without_a_word_is_a_failure() -> None:
    health = Health(failures=1, successes=1)
    assert health.saw("")
    assert not health.well


def test_another_version_begins_anew() -> None:
    health = Health(failures=2, successes=1)
    health.saw("a")
    health.saw("b")
    health.forget()
    assert health.well
    assert not health.saw("c"), "the first of the new one"
