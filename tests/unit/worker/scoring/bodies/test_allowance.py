"""What is remembered of the kinds of requests stays bounded, however many kinds clients make up."""

import gc
import tracemalloc

from headrace_worker.scoring.bodies.allowance import MAX_CHARACTERS, Allowance
from tests.unit.worker.models import ask, load


def test_keys_are_counted_in_number_and_in_characters() -> None:
    allowance = Allowance(2)
    assert not allowance.take(("x" * MAX_CHARACTERS,))
    assert allowance.take(("x" * (MAX_CHARACTERS // 2), ("y",)))
    assert not allowance.take(("x" * (MAX_CHARACTERS // 2),))
    assert allowance.take(("x",))
    assert not allowance.take(())


def test_a_worker_does_not_grow_with_kinds_that_clients_make_up() -> None:
    scorer, _ = load(lambda data, _: [0] * len(data))
    tracemalloc.start()
    try:
        for n in range(300):
            names = [f"{n}{'x' * 1000}{i}" for i in range(100)]  # 30 MB of names in all
            (answer,) = ask(scorer, {"dataframe_split": {"columns": names, "data": [[1.5] * 100]}})
            assert answer.status == 200
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 4 * MAX_CHARACTERS


def test_what_is_too_large_to_be_remembered_is_answered_all_the_same() -> None:
    scorer, impl = load(lambda data, _: [0] * len(data))
    request = {"dataframe_split": {"columns": ["x" * MAX_CHARACTERS], "data": [[1.5]]}}
    assert [a.status for a in ask(scorer, request, request)] == [200, 200]
    assert len(impl.calls) == 2
