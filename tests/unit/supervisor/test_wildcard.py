"""Which registered models are served by which name."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.identity import safe_name
from headrace.supervisor.wildcard import by_served_name


def test_of_two_names_that_fold_into_one_the_exact_one_is_served() -> None:
    wanted, left_out = by_served_name(["$(id)", "id", "mood"], frozenset())
    assert wanted == {"id": "id", "mood": "mood"}
    assert left_out.keys() == {"$(id)"}
    assert "'id' is that of another registered model" in left_out["$(id)"]


def test_where_none_is_exact_none_is_served_and_each_is_told_of_the_others() -> None:
    wanted, left_out = by_served_name(["$(id)", "[id]", "mood"], frozenset())
    assert wanted == {"mood": "mood"}
    assert "'[id]' would be served by the name 'id'" in left_out["$(id)"]
    assert "'$(id)' would be served by the name 'id'" in left_out["[id]"]


def test_what_the_configuration_names_is_left_to_it() -> None:
    wanted, left_out = by_served_name(["$(id)", "id", "a b"], {"id"})
    assert wanted == {"a b": "a-b"}
    assert left_out.keys() == {"$(id)", "id"}


names = st.lists(st.text("ab$ -", min_size=1, max_size=4), unique=True)


@given(names, st.randoms(use_true_random=False))
def test_it_is_the_same_in_any_order_and_nothing_is_lost(registered: list[str], random: st.DataObject) -> None:
    shuffled = sorted(registered, key=lambda _: random.random())  # type: ignore[attr-defined] # a Random
    wanted, left_out = by_served_name(registered, frozenset())
    assert (wanted, left_out) == by_served_name(shuffled, frozenset())
    assert {*wanted} | {*left_out} == {*registered}
    assert not {*wanted} & {*left_out}
    assert len({*wanted.values()}) == len(wanted)
    for one, name in wanted.items():
        assert name == safe_name(one)
        assert one == name or [other for other in registered if safe_name(other) == name] == [one]
