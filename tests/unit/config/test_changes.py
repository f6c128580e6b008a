"""What a plan says of single changes; `tests/properties/test_changes.py` tries any of them together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from headrace.config.changes import How, Path, Plan, describe, plan, way_of
from headrace.config.load import parse
from headrace.config.section import Section
from headrace.config.tree import Config, Errors, Model, Wildcard

BASE: dict[str, Any] = {
    "gateway": {"port": 5000},
    "models": {"a": {"uri": "models:/a@production", "port": 5001}, "b": {"uri": "models:/b@production"}},
}


def between(**changed: Any) -> Plan:
    return plan(parse(BASE), parse({**BASE, **changed}))


def with_a(**changed: Any) -> dict[str, Any]:
    return {"models": {**BASE["models"], "a": {**BASE["models"]["a"], **changed}}}


def ways(made: Plan) -> dict[str, How]:
    return {change.setting: change.how for change in made.changes}


def test_the_same_configuration_changes_nothing() -> None:
    made = between()
    assert made.changes == ()
    assert (made.added, made.removed, made.beside, made.live) == (frozenset(),) * 4
    assert not made.moves_gateways
    assert not made.refused


@pytest.mark.parametrize(
    ("changed", "setting", "how"),
    [
        ({"replicas": 3}, "models.a.replicas", How.LIVE),
        ({"batch": {"max_bytes": 1000}}, "models.a.batch.max_bytes", How.LIVE),
        ({"batch": {"max_rows": 7}}, "models.a.batch.max_rows", How.PROCESSES),
        ({"queue": {"max_rows": 7}}, "models.a.queue.max_rows", How.LIVE),
        ({"queue": {"client_header": "X-Who"}}, "models.a.queue.client_header", How.GATEWAYS),
        ({"cache": {"ttl_s": 5}}, "models.a.cache", How.LIVE),
        ({"traffic": {"production": 9, "canary": 1}}, "models.a.traffic", How.LIVE),
        ({"port": 5002}, "models.a.port", How.GATEWAYS),
        ({"uri": "models:/a@staging"}, "models.a.uri", How.PROCESSES),
        ({"env": {"A": "b"}}, "models.a.env", How.PROCESSES),
        ({"environment": "local"}, "models.a.environment", How.PROCESSES),
        ({"prediction_log": {"path": "/srv/log"}}, "models.a.prediction_log", How.RESTART),
    ],
)
def test_a_setting_of_a_model_has_its_way(changed: dict[str, Any], setting: str, how: How) -> None:
    made = between(**with_a(**changed))
    assert ways(made) == {setting: how}
    assert made.beside == (frozenset({"a"}) if how is How.PROCESSES else frozenset())
    assert made.live == (frozenset() if how is How.PROCESSES else frozenset({"a"}))


@pytest.mark.parametrize(
    ("changed", "setting", "how"),
    [
        ({"health": {"ready": "any"}}, "health.ready", How.LIVE),
        ({"health": {"hung_after_s": 3}}, "health.hung_after_s", How.RESTART),
        ({"log": {"level": "debug"}}, "log.level", How.LIVE),
        ({"log": {"format": "json"}}, "log.format", How.RESTART),
        ({"home": "/srv/elsewhere"}, "home", How.RESTART),
        ({"gateway": {"port": 5000, "processes": 2}}, "gateway.processes", How.GATEWAYS),
        ({"tls": {"certificate": "/srv/cert.pem"}}, "tls", How.GATEWAYS),
        ({"auth": {"keys": "/srv/keys"}}, "auth", How.GATEWAYS),
        ({"registry": {"tracking_uri": "http://r"}}, "registry.tracking_uri", How.RESTART),
    ],
)
def test_a_setting_of_all_has_its_way(changed: dict[str, Any], setting: str, how: How) -> None:
    made = between(**changed)
    assert ways(made) == {setting: how}
    assert [change.setting for change in made.refused] == ([setting] if how is How.RESTART else [])


def test_what_is_in_a_section_may_go_another_way_than_the_section() -> None:
    one, other = ({"certificate": "/c", "max_handshakes": most} for most in (5, 6))
    assert ways(plan(parse({**BASE, "tls": one}), parse({**BASE, "tls": other}))) == {"tls.max_handshakes": How.LIVE}


def test_issuers_change_while_gateways_go_on() -> None:
    one, other = (
        {"keys": "/k", "issuers": {"a": {"issuer": url, "audiences": ["x"], "roles_claim": "roles"}}}
        for url in ("https://a", "https://b")
    )
    made = plan(parse({**BASE, "auth": one}), parse({**BASE, "auth": other}))
    assert ways(made) == {"auth.issuers": How.LIVE}


def test_a_model_that_comes_or_goes_is_one_change() -> None:
    only_b = {"models": {"b": BASE["models"]["b"]}}
    gone = between(**only_b)
    assert (ways(gone), gone.removed) == ({"models.a": How.GATEWAYS}, frozenset({"a"}))
    come = between(models={**BASE["models"], "c": {"uri": "models:/c@production"}})
    assert (ways(come), come.added) == ({"models.c": How.LIVE}, frozenset({"c"}))


def test_a_setting_of_all_reaches_the_models_that_have_none_of_their_own() -> None:
    own = with_a(errors={"mode": "mlflow"})
    made = plan(parse({**BASE, **own}), parse({**BASE, **own, "errors": {"mode": "strict"}}))
    assert (ways(made), made.beside) == ({"errors.mode": How.PROCESSES}, frozenset({"b"}))
    assert between(gateway={"port": 5000, "max_body_bytes": 1000}).beside == {"a", "b"}


def test_the_entry_for_all_models_changes_what_is_live_and_nothing_else() -> None:
    def every(**changed: Any) -> Config:
        return parse({**BASE, "models": {**BASE["models"], "*": {"uri": "models:/*@production", **changed}}})

    assert ways(plan(every(), every(replicas=2))) == {"models.*.replicas": How.LIVE}
    assert ways(plan(every(), every(env={"A": "b"}))) == {"models.*.env": How.RESTART}
    assert ways(plan(parse(BASE), every())) == {"models.*": How.RESTART}
    before = every()
    strict = msgspec.structs.replace(before, errors=Errors(mode="strict"))
    assert ways(plan(before, strict)) == {"errors.mode": How.RESTART}


def test_what_is_shown_has_no_secrets() -> None:
    old = {**BASE, "registry": {"webhook_secret": "first"}, **with_a(env={"KEY": "one"})}
    new = {**BASE, "registry": {"webhook_secret": "second"}, **with_a(env={"KEY": "two", "X": "y"})}
    before, after = parse(old), parse(new)
    told = {one["setting"]: one for one in describe(plan(before, after), before, after)}
    assert told["registry.webhook_secret"]["after"] == "(hidden)"
    assert told["models.a.env"]["after"] == {"KEY": "(hidden)", "X": "(hidden)"}
    assert told["models.a.env"]["models"] == ["a"]


def test_of_a_model_that_comes_the_uri_is_shown() -> None:
    before, after = parse(BASE), parse({**BASE, "models": {"b": BASE["models"]["b"]}})
    assert describe(plan(before, after), before, after) == [
        {"setting": "models.a", "before": "models:/a@production", "after": None, "how": "new gateways", "models": []}
    ]


def fields(kind: type[Section], path: Path = ()) -> Iterator[Path]:
    """The path of every setting below a section, and of every section that may be there or not."""
    for field in msgspec.structs.fields(kind):
        if not path and field.name in {"models", "wildcard"}:
            continue
        kinds = getattr(field.type, "__args__", (field.type,))
        if field.type not in kinds or not (isinstance(field.type, type) and issubclass(field.type, Section)):
            yield (*path, field.name)
        for one in kinds:
            if isinstance(one, type) and issubclass(one, Section):
                yield from fields(one, (*path, field.name))


def test_the_table_knows_every_setting() -> None:
    for path in [*fields(Config), *fields(Model, ("models", "a")), *fields(Wildcard, ("models", "*"))]:
        assert way_of(path) in How, path
