"""What roles hold, and for which models."""

import pytest

from headrace.core.security.roles import NOBODY, ROLES, Grant, Role


@pytest.mark.parametrize(
    ("mine", "held"),
    [
        ("predict", {"predict"}),
        ("read", {"read"}),
        ("operate", {"operate", "read"}),
        ("admin", {"predict", "read", "operate", "admin"}),
    ],
)
def test_a_role_holds_what_it_says_and_no_more(mine: Role, held: set[Role]) -> None:
    grant = Grant(name="a", roles=(mine,))
    assert {role for role in ROLES if grant.has(role)} == held
    assert not any(NOBODY.has(role) for role in ROLES)


def test_models_are_patterns_of_whole_names_and_bind_predictions() -> None:
    grant = Grant(name="a", roles=("predict",), models=("topic-*", "mood"))
    models = ["topic-1", "topic", "mood", "moody", "Mood"]
    assert grant.visible(models) == ["topic-1", "mood"]
    reader = Grant(name="b", roles=("read",), models=())
    assert reader.visible(models) == models
    assert not reader.predicts("mood")
