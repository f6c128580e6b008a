"""A file with many mistakes is told all of them in one run, and what people write is understood or answered."""

from pathlib import Path
from typing import Any

import pytest

from headrace.config.load import load_file
from headrace.config.tree import Config
from headrace.core.errors import ConfigErrors

MODEL = "models: {m: {uri: 'models:/m@production', port: 5001%s}}\n"


def loaded(folder: Path, text: str, **environ: str) -> Config:
    (folder / "headrace.yaml").write_text(text, encoding="utf-8")
    return load_file(folder / "headrace.yaml", environ)


def mistakes(folder: Path, text: str, **environ: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ConfigErrors) as caught:
        loaded(folder, text, **environ)
    problems = caught.value.problems
    lines = str(caught.value).splitlines()
    assert all(line.startswith(str(folder / "headrace.yaml")) for line in lines)
    assert len(lines) == len(problems) + (len(problems) > 1)
    return [(one.line, one.path, one.says) for one in problems]


def test_all_mistakes_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
registry:
  poll_s: soon
  poll: 5
log: {format: yaml, level: waring}
models:
  my topic: {uri: "models:/t@p"}
  topic:
    uri: models:/topic@production
    port: 5001
    batch:
      max_row: 5
      max_bytes: 1
      max_bytes: 2
    traffic: {challenger: 10}
  two.dots:
    uri: models:/two
    port: 5001
    replicas: 0
  "*": {uri: "models:/*"}
gatway: {port: 5000}
"""
    found = mistakes(tmp_path, text)
    assert [(line, path) for line, path, _ in found] == [
        (2, "registry.poll_s"),
        (3, "registry.poll"),
        (4, "log.format"),
        (4, "log.level"),
        (6, "models.my topic"),
        (11, "models.topic.batch.max_row"),
        (13, "models.topic.batch.max_bytes"),
        (14, "models.topic.traffic"),
        (16, "models.two.dots.uri"),
        (17, "models.two.dots.port"),
        (18, "models.two.dots.replicas"),
        (19, "models.*.uri"),
        (20, "gatway"),
    ]


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("modles: {m: {uri: 'models:/m/1', port: 1}}\n", "modles", "did you mean 'models'?"),
        (MODEL % ", Timeout: 5", "models.m.Timeout", "did you mean 'timeout_s'?"),
        (MODEL % ", max_rows: 5", "models.m.max_rows", "it belongs under models.NAME.batch or models.NAME.queue"),
        ("environment: local\n" + MODEL % "", "environment", "'environments', or models.NAME.environment?"),
        ("errors: strict\n" + MODEL % "", "errors", "expected a section, got the text 'strict': write {mode: strict}"),
        (MODEL % ", batch: 64", "models.m.batch", "write {max_rows: 64}"),
        ("models: {m: models:/m@production}\n", "models.m", "write {uri: models:/m@production}"),
        ("models: [models:/m@production]\n", "models", "at least one model is needed"),
        ("models: {'*': {uri: models:/*}}\ngateway: {port: 1}\n", "models.*.uri", "such as models:/*@production"),
        ("models: {m: {uri: models:/*, port: 1}}\n", "models.m.uri", "give it under models.'*'"),
        (MODEL % ", timeout_s: 60 parsecs", "models.m.timeout_s", "or one with a unit: 500ms, 90s, 5m, 2h"),
        (MODEL % ", cache: {max_bytes: 256miles}", "models.m.cache.max_bytes", "with a unit: 64MiB, 2GB"),
        (MODEL % ", pass_env: AWS_*", "models.m.pass_env", "a list of text, got the text 'AWS_*': write [AWS_*]"),
        (MODEL % ", env: {A: }", "models.m.env.A", "expected text, got nothing"),
        (MODEL % ", env: [A]", "models.m.env", "expected a mapping of names to text, got a list"),
        (MODEL % ", replicas: 2.5", "models.m.replicas", "a whole number ≥ 1 or section, got the number 2.5"),
        (MODEL % ", replicas: true", "models.m.replicas", "≥ 1 or section, got true: write {max: ...}"),
        (MODEL % ", replicas: {min: -1, max: 2}", "models.m.replicas.min", "≥ 0, got the number -1"),
        (MODEL % ", pin_header: perhaps", "models.m.pin_header", "expected true or false, got the text 'perhaps'"),
        (MODEL % ", environment: exakt", "models.m.environment", "did you mean 'exact'?"),
        (MODEL % ", batch: {tolerance: autoo}", "models.m.batch.tolerance", "a number ≥ 0, < 1 or auto, got"),
        ("log: {access: most}\n" + MODEL % "", "log.access", "expected off or sampled or full or true or false, got"),
        (MODEL % ", uri2: ''", "models.m.uri2", "did you mean 'uri'?"),
        (MODEL % ", cache: {url: 'http://u:secret@h'}", "models.m.cache.url", "expected text of the form ^(redis|"),
        ("", "", "is empty"),
        ("models: {a: &a [*a]}\n", "", "nested too deeply"),
        ("? [1, 2]\n: 3\n", "", "a key is a text or a number"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_once_and_with_what_to_write(tmp_path: Path, text: str, path: str, says: str) -> None:
    ((_, where, told),) = mistakes(tmp_path, text)
    assert where == path
    assert says in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ("timeout_s: 60s", "timeout_s", 60.0),
        ("timeout_s: 1.5m", "timeout_s", 90.0),
        ("timeout_s: 250ms", "timeout_s", 0.25),
        ("timeout_s: 1e1", "timeout_s", 10.0),
        ('timeout_s: "30"', "timeout_s", 30.0),
        ("replicas: 2.0", "replicas", 2),
        ("replicas: 0x10", "replicas", 16),
        ("replicas: 010", "replicas", 10),
        ("replicas: 1_0", "replicas", 10),
        ("pin_header: yes", "pin_header", True),
        ("pin_header: off", "pin_header", False),
        ("env: {OMP_NUM_THREADS: 1, A: 1e5, B: true, C: 010, D: on}", "env",
         {"OMP_NUM_THREADS": "1", "A": "1e5", "B": "true", "C": "010", "D": "on"}),
        ("config: {a: 1e-3, b: off, 5: [0o17, null], c: 2026-01-01}", "config",
         {"a": 0.001, "b": "off", "5": [15, None], "c": "2026-01-01"}),
        ("cache: false", "cache", None),
        ("shadow: 7", "shadow", "7"),
    ],
)  # fmt: skip
def test_what_people_write_is_understood(tmp_path: Path, written: str, key: str, value: object) -> None:
    model = loaded(tmp_path, MODEL % f", {written}").models["m"]
    assert getattr(model, key) == value
    assert type(getattr(model, key)) is type(value)


def test_sizes_and_sections_with_their_defaults(tmp_path: Path) -> None:
    text = MODEL % ", cache: {max_bytes: 256MB}, probe: true, batch: {max_delay_ms: 0.002s, tolerance: 1e-9}, queue: "
    config = loaded(tmp_path, text + "environments: {max_age_days: 36h, max_bytes: 2GiB}\nlog:\n")
    model = config.models["m"]
    assert model.cache is not None
    assert model.probe is not None
    assert (model.cache.max_bytes, model.probe.every_s) == (256_000_000, 10.0)
    assert (model.batch.max_delay_ms, model.batch.tolerance) == (2.0, 1e-9)
    assert (config.environments.max_age_days, config.environments.max_bytes) == (1.5, 2 * 2**30)


@pytest.mark.parametrize("number", ["1e-9", "1E-9", "1.0e-9", "0.000000001", ".1e-8", "1e-09", '"1e-9"'])
def test_every_form_of_a_number_is_taken(tmp_path: Path, number: str) -> None:
    assert loaded(tmp_path, MODEL % f", batch: {{tolerance: {number}}}").models["m"].batch.tolerance == 1e-9


def test_json_is_yaml(tmp_path: Path) -> None:
    text = '{"models":{"m":{"uri":"models:/m/1","port":5001,"timeout_s":1E2,"config":{"s":"\\u00e9\\/"}}}}'
    model = loaded(tmp_path, text).models["m"]
    assert (model.timeout_s, model.config) == (100.0, {"s": "é/"})


VARIABLES: dict[str, Any] = {
    "registry: {tracking_uri: 'http://${HOST:-localhost}:${PORT}'}\n": "http://localhost:5050",
    "registry:\n  tracking_uri: ${UNSET:-sqlite:///a.db}\n": "sqlite:///a.db",
    "registry: {tracking_uri: '${EMPTY:-x}'}\n": "x",
    "registry: {tracking_uri: 'a$${PORT}$PORT'}\n": "a${PORT}$PORT",
}


@pytest.mark.parametrize("text", VARIABLES)
def test_variables_are_replaced(tmp_path: Path, text: str) -> None:
    config = loaded(tmp_path, text + MODEL % "", PORT="5050", EMPTY="")
    assert config.registry.tracking_uri == VARIABLES[text]


def test_a_variable_may_hold_a_number_with_quotes_or_without(tmp_path: Path) -> None:
    text = "gateway:\n  port: ${PORT}\nadmin: {port: '${ADMIN:-0}'}\n" + MODEL % ", env: {KEY: '${PORT}'}"
    config = loaded(tmp_path, text, PORT="5050")
    assert (config.gateway.port, config.admin and config.admin.port) == (5050, 0)
    assert config.models["m"].env == {"KEY": "5050"}


def test_variables_that_are_missing_are_told_together(tmp_path: Path) -> None:
    text = "registry: {tracking_uri: '${A}${B:-}'}\nhome: ${C}\nlog: {level: '${a b}'}\n" + MODEL % ""
    found = mistakes(tmp_path, text)
    assert [line for line, _, _ in found] == [1, 2, 3]
    assert found[0][2] == "the variable A is not set; set it, or write ${A:-default}"
    assert found[2][2].endswith("or $${a b} for the text itself")


def test_what_a_variable_holds_is_not_repeated(tmp_path: Path) -> None:
    ((_, _, says),) = mistakes(tmp_path, "gateway: {port: '${PORT}'}\n" + MODEL % "", PORT="secret")
    assert says == "expected a whole number ≥ 0, ≤ 65535 or null, got the text '${PORT}'"


def test_what_a_merge_brings_is_displaced_by_what_stands_beside_it(tmp_path: Path) -> None:
    text = """\
gateway: {port: 0}
models:
  a: &a {uri: "models:/a/1", replicas: 2}
  b: &b {<<: *a, uri: "models:/b/1", threads: 1}
  c: {<<: [*b, *a], timeout_s: 5}
"""
    models = loaded(tmp_path, text).models
    assert [(m.uri, m.replicas, m.threads) for m in models.values()] == [
        ("models:/a/1", 2, None),
        ("models:/b/1", 2, 1),
        ("models:/b/1", 2, 1),
    ]


def test_a_quota_that_limits_nothing(tmp_path: Path) -> None:
    text = "quotas: {team: {burst_s: 2}, '*': {in_flight: 0}}\n"
    found = mistakes(tmp_path, text + MODEL % "")
    assert [(path, says.split(":")[0]) for _, path, says in found] == [
        ("quotas.*.in_flight", "expected a whole number ≥ 1 or null, got the number 0"),
        ("quotas.team", "limits nothing"),
    ]


@pytest.mark.parametrize("key", ["max_body_bytes", "max_memory_bytes", "keep_alive_s", "processes"])
def test_a_key_without_a_value_is_told_or_is_none(tmp_path: Path, key: str) -> None:
    text = f"gateway: {{{key}}}\n" + MODEL % ""
    if key == "max_memory_bytes":
        assert loaded(tmp_path, text).gateway.max_memory_bytes is None
    else:
        ((_, path, says),) = mistakes(tmp_path, text)
        assert (path, says.endswith("got nothing")) == (f"gateway.{key}", True), says


@pytest.mark.parametrize(
    ("written", "key", "says"),
    [
        ("audiences: [a], roles_claim: r", "issuer", "is required"),
        ("issuer: 'https://a', roles_claim: r", "audiences", "is required"),
        ("issuer: 'https://a', audiences: [], roles_claim: r", "audiences", "at least one"),
        ("issuer: 'https://a', audiences: [a]", "", "may do nothing"),
        ("issuer: 'http://id.example', audiences: [a], roles_claim: r", "issuer", "no https:// address"),
        ("issuer: 'https://a', jwks_url: 'ftp://a', audiences: [a], roles_claim: r", "jwks_url", "no https:// address"),
        ("issuer: 'https://a', audiences: [a], roles_claim: r, client: {secret: s}", "client.id", "is required"),
        ("issuer: 'https://a', audiences: [a], roles_claim: r, algorithms: [none]", "algorithms[0]", "RS256"),
        ("issuer: 'https://a', audiences: [a], roles_claim: r, algorithms: [HS256]", "algorithms[0]", "RS256"),
    ],
)
def test_an_issuer_that_nobody_could_use_or_anybody_could_be(tmp_path: Path, written: str, key: str, says: str) -> None:
    told = mistakes(tmp_path, f"auth: {{issuers: {{id: {{{written}}}}}}}\n" + MODEL % "")
    assert len(told) == 1, told
    assert told[0][1] in {f"auth.issuers.id.{key}".rstrip("."), "auth.issuers.id"}
    assert says in told[0][2]


def test_fewest_replicas_are_no_more_than_most(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, MODEL % ", replicas: {min: 3, max: 2}")
    assert found[1:] == ("models.m.replicas.min", "3 is more than max, which is 2")
