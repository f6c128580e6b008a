"""Any configuration turned into any other: the plan has all of it, and takes no setting of a process for none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headrace.config.changes import plan
from headrace.config.load import parse
from headrace.config.tree import Config
from headrace.supervisor import wire_config
from headrace.supervisor.processes.worker_environ import worker_environ

MODEL: dict[str, list[Any]] = {
    "uri": ["models:/a@production", "models:/a@staging", "models:/b@production"],
    "port": [None, 5001, 5002],
    "host": [None, "127.0.0.1"],
    "replicas": [1, 2, 3],
    "timeout_s": [1, 60],
    "concurrency": ["auto", 1, 4],
    "threads": [None, 2],
    "batch": [{}, {"max_rows": 7}, {"max_bytes": 7}, {"max_delay_ms": 1}, {"tolerance": 0}],
    "queue": [{}, {"max_rows": 5}, {"max_rows_per_client": 3}, {"client_header": "X-Who"}],
    "cache": [None, {}, {"ttl_s": 4}],
    "errors": [None, {"mode": "strict"}, {"mode": "mlflow"}],
    "config": [None, {"a": 1}],
    "env": [{}, {"A": "1"}, {"A": "2"}],
    "pass_env": [[], ["AWS_*"]],
    "checks": [{}, {"signature": "warn"}],
    "rollout": [{}, {"keep_old_s": 1}],
    "probe": [None, {}, {"failures": 9}],
    "pin_header": [False, True],
    "prediction_log": [None, {"path": "/srv/log"}],
    "environment": ["compatible", "local"],
    "environment_mismatch": [None, "warn"],
}
WHOLE: dict[str, list[Any]] = {
    "registry": [{}, {"poll_s": 1}, {"tracking_uri": "http://r"}, {"timeout_s": 3}, {"webhook_secret": "s"}],
    "tls": [None, {"certificate": "/c"}, {"certificate": "/d"}, {"certificate": "/c", "handshake_timeout_s": 3}],
    "auth": [
        None, {"keys": "/k"}, {"keys": "/l"}, {"keys": "/k", "probes": "closed"},
        {"keys": "/k", "issuers": {"id": {"issuer": "https://id", "audiences": ["a"], "roles_claim": "roles"}}},
    ],
    "admin": [{}, {"port": 6000}, {"hosts": ["x"]}],
    "gateway": [
        {"port": 5000}, {"port": 5009}, {"port": 5000, "processes": 2}, {"port": 5000, "max_body_bytes": 1000},
        {"port": 5000, "drain_s": 1}, {"port": 5000, "origins": ["*"]},
    ],
    "errors": [{}, {"mode": "strict"}],
    "environments": [{}, {"source_builds": False}, {"prebuilt": "/srv/built"}],
    "health": [{}, {"ready": "any"}, {"failing": "unready"}, {"hung_after_s": 3}],
    "log": [{}, {"level": "debug"}, {"format": "json"}, {"access": "full"}, {"slow_s": 1}],
    "home": [None, "/srv/h"],
    "bring_up_at_once": [None, 1],
    "quotas": [{}, {"*": {"in_flight": 3}}],
}  # fmt: skip


DEFAULT: dict[str, Any] = {
    "gateway": {"port": 5000},
    "models": {name: {"uri": "models:/a@production"} for name in "ab"},
}


@st.composite
def edited(draw: st.DrawFn, base: dict[str, Any]) -> dict[str, Any]:
    """A document like `base`, with some settings that are others, and models that came or went."""
    models: dict[str, dict[str, Any]] = dict(base["models"])
    document = {**base, "models": models}
    for name in draw(st.lists(st.sampled_from([*WHOLE]), max_size=2)):
        document[name] = draw(st.sampled_from(WHOLE[name]))
    for name in draw(st.lists(st.sampled_from("abc"), max_size=3)):
        setting = draw(st.sampled_from([*MODEL]))
        models[name] = {"uri": "models:/a@production", **models.get(name, {})}
        models[name][setting] = draw(st.sampled_from(MODEL[setting]))
    gone = draw(st.sampled_from("abc-"))
    if models.keys() != {gone}:
        models.pop(gone, None)
    for at, (name, model) in enumerate(models.items()):
        if model.get("port") is not None:  # no two on one port
            models[name] = {**model, "port": 5110 + 10 * at + model["port"] % 10}
    return document


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Config, Config]:
    base = draw(edited(DEFAULT))
    return parse(base), parse(draw(edited(base)))


def document(config: Config) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(config, enc_hook=str)
    return made


def put(into: dict[str, Any], path: tuple[str, ...], source: dict[str, Any]) -> None:
    """Have the same value at `path` as `source` has, or none."""
    for key in path[:-1]:
        into, source = into[key], source[key]
    if path[-1] in source:
        into[path[-1]] = source[path[-1]]
    else:
        del into[path[-1]]


@given(pairs())
def test_the_changes_are_all_that_differs(pair: tuple[Config, Config]) -> None:
    before, after = pair
    made = plan(before, after)
    assert (before == after) == (not made.changes)
    assert len({change.path for change in made.changes}) == len(made.changes)
    changed, wanted = document(before), document(after)
    for change in made.changes:
        put(changed, change.path, wanted)
    assert changed == wanted
    back = plan(after, before)
    assert {change.path for change in back.changes} == {change.path for change in made.changes}
    assert (back.added, back.removed) == (made.removed, made.added)


@given(pairs())
def test_every_model_has_one_part_in_it(pair: tuple[Config, Config]) -> None:
    before, after = pair
    made = plan(before, after)
    parts = (made.added, made.removed, made.beside, made.live)
    assert sum(map(len, parts)) == len(frozenset().union(*parts))
    assert before.models.keys() - made.removed == after.models.keys() - made.added
    for name in after.models.keys() - frozenset().union(*parts):
        assert before.models[name] == after.models[name]


@given(pairs())
def test_what_is_not_planned_to_change_does_not(pair: tuple[Config, Config]) -> None:
    """Derived as the supervisor derives it: what a worker is started with, and what a gateway and a recorder are."""
    before, after = pair
    made = plan(before, after)
    for name in (before.models.keys() & after.models.keys()) - made.beside:
        old, new = before.models[name], after.models[name]
        assert wire_config.worker_options(before, old) == wire_config.worker_options(after, new)
        one = msgspec.structs.replace(old, replicas=1), msgspec.structs.replace(new, replicas=1)
        environ = {"AWS_KEY": "k", "PATH": "/bin"}
        assert worker_environ(environ, one[0], None) == worker_environ(environ, one[1], None)
        kept = ("uri", "environment", "environment_mismatch")
        assert [getattr(old, key) for key in kept] == [getattr(new, key) for key in kept]
    if made.refused:
        return  # and nothing is done
    if not made.moves_gateways:
        for of in (wire_config.limits, wire_config.pages):
            assert of(before) == of(after)
        assert before.gateway == after.gateway
        assert [(m.port, m.host) for _, m in sorted(before.models.items()) if m.port is not None] == [
            (m.port, m.host) for _, m in sorted(after.models.items()) if m.port is not None
        ]
        assert (before.tls is None, before.auth is None) == (after.tls is None, after.auth is None)
    directory = Path("/run")
    assert wire_config.recording(before, directory, {}) == wire_config.recording(after, directory, {})
    assert wire_config.prediction_logs(before) == wire_config.prediction_logs(after)
    assert (before.home, before.environments.prebuilt) == (after.home, after.environments.prebuilt)
