"""Weights, shadows and wildcards: what is accepted, and what a refusal says."""

from typing import Any

import pytest

from headrace.config.load import parse
from headrace.config.traffic import other_aliases, shadow_of
from headrace.core.errors import ConfigError

URI = "models:/topic@production"


def document(**model: Any) -> dict[str, Any]:
    return {"models": {"topic": {"uri": URI, "port": 5001, **model}}}


def test_the_other_aliases_are_followed_once_each() -> None:
    config = parse(document(traffic={"challenger": 10, "production": 90}, shadow="challenger", pin_header=True))
    assert other_aliases(config.models["topic"]) == ["challenger"]
    assert shadow_of(config.models["topic"]).share == 1.0
    config = parse(document(shadow={"alias": "dark", "share": 0.1}))
    assert other_aliases(config.models["topic"]) == ["dark"]


def test_a_wildcard_is_accepted_beside_models() -> None:
    made = parse({"gateway": {"port": 0}, "models": {"*": {"uri": "models:/*@production"}, "topic": {"uri": URI}}})
    assert made.wildcard is not None
    assert made.wildcard.at_most == 100
    assert list(made.models) == ["topic"]


@pytest.mark.parametrize(
    ("model", "path", "says"),
    [
        ({"traffic": {"challenger": 10}}, "traffic", "lacks the uri's own alias 'production'"),
        ({"traffic": {"production": 0, "challenger": 0}}, "traffic", "sum up to 0"),
        ({"traffic": {"production": -1}}, "traffic", "≥ 0"),
        ({"traffic": {"production": 1, "a/b": 1}}, "traffic.a/b", "is no alias"),
        ({"traffic": {"production": 1, **{f"a{n}": 1 for n in range(9)}}}, "traffic", "at most 8"),
        ({"uri": "models:/topic/3", "traffic": {"production": 1}}, "traffic", "needs a uri with an alias"),
        ({"uri": "models:/topic/3", "shadow": "dark"}, "shadow", "needs a uri with an alias"),
        ({"shadow": "production"}, "shadow", "is what serves"),
        ({"shadow": {"alias": "dark", "share": 0}}, "shadow", "> 0"),
        ({"sticky_header": "X User", "traffic": {"production": 1}}, "sticky_header", "not the name of a header"),
        ({"sticky_header": "X-User"}, "sticky_header", "without 'traffic'"),
        ({"uri": "models:/*@production"}, "uri", "models.'*'"),
    ],
)
def test_what_makes_no_sense_is_refused(model: dict[str, Any], path: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(document(**model))
    assert raised.value.path.startswith(f"models.topic.{path}")
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("entry", "gateway", "path"),
    [
        ({"uri": "models:/topic@production"}, {"port": 0}, "models.*.uri"),
        ({"uri": "models:/*/3"}, {"port": 0}, "models.*.uri"),
        ({"uri": "models:/*@production", "port": 1}, {"port": 0}, "models.*.port"),
        ({"uri": "models:/*@production"}, {}, "models.*"),
        ({"uri": "models:/*@production", "at_most": 0}, {"port": 0}, "models.*.at_most"),
    ],
)
def test_a_wildcard_that_makes_no_sense_is_refused(entry: dict[str, Any], gateway: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse({"gateway": gateway, "models": {"*": entry}})
    assert raised.value.path == path


def test_the_wildcard_is_no_key_of_its_own() -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        parse({**document(), "wildcard": {"uri": "models:/*@production"}})
