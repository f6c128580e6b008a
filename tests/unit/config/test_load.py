"""Every wrong configuration is refused with the path of what is wrong and what to do."""

from pathlib import Path
from typing import Any

import pytest

from headrace.config.load import load_file, parse
from headrace.core.errors import ConfigError, UsageError

GOOD: dict[str, Any] = {"models": {"topic": {"uri": "models:/topic@production", "port": 5001}}}


def test_the_example_of_the_readme_is_accepted() -> None:
    config = parse(
        {
            "registry": {"tracking_uri": "sqlite:///x.db", "poll_s": 5},
            "admin": {"host": "127.0.0.1", "port": 5100},
            "models": {
                "classification": {"uri": "models:/classification@production", "port": 5001, "replicas": 2},
                "sentiment": {"uri": "models:/sentiment/Production", "port": 5002, "replicas": 1},
            },
            "gateway": {"port": 5000},
        }
    )
    assert config.models["classification"].replicas == 2
    assert config.gateway.port == 5000
    assert config.registry.poll_s == 5


def test_defaults_hold_where_nothing_is_said() -> None:
    config = parse(GOOD)
    assert config.admin is not None
    assert (config.admin.host, config.admin.port) == ("127.0.0.1", 5100)
    assert config.gateway.port is None
    assert config.models["topic"].cache is None


@pytest.mark.parametrize(
    ("document", "path", "says"),
    [
        ([], "", "expected a mapping"),
        (None, "", "got nothing"),
        ({}, "models", "at least one model"),
        ({"models": {"a b": {"uri": "x"}}}, "models.a b", "letters, digits"),
        ({"models": {"a": 5}}, "models.a", "expected a section, got the number 5: write {uri: 5}"),
        ({"models": {"a": {"port": 1}}}, "models.a.uri", "is required"),
        ({"models": {"a": {"uri": "models:/a", "port": 1}}}, "models.a.uri", "is not a model URI"),
        ({"models": {"a": {"uri": "models:/a/1", "prot": 1}}}, "models.a.prot", "did you mean 'port'"),
        (
            {"models": {"a": {"uri": "models:/a/1", "port": "50x1"}}},
            "models.a.port",
            "expected a whole number ≥ 0, ≤ 65535 or null, got the text '50x1'",
        ),
        ({"models": {"a": {"uri": "models:/a/1", "port": 70000}}}, "models.a.port", "≤ 65535"),
        ({"models": {"a": {"uri": "models:/a/1", "port": 1, "replicas": 0}}}, "models.a.replicas", "≥ 1"),
        (
            {"models": {"a": {"uri": "models:/a/1", "port": 1, "batch": {"rows": 1}}}},
            "models.a.batch.rows",
            "did you mean 'max_rows'",
        ),
        ({**GOOD, "regsitry": {}}, "regsitry", "did you mean 'registry'"),
        ({**GOOD, "registry": {"poll_s": 0}}, "registry.poll_s", "≥ 0.1"),
        ({**GOOD, "gateway": {"port": 5001}}, "models.topic.port", "already used by gateway.port"),
        ({**GOOD, "admin": {"port": 5001}}, "models.topic.port", "already used by admin.port"),
        ({"models": {"a": {"uri": "models:/a/1"}}}, "models.a.port", "set gateway.port"),
        ({"models": {"a": {"uri": "m", "port": 1}}, "mcp": {"models": ["a"]}}, "mcp", "set gateway.port"),
        ({"models": {"a": {"uri": "m", "port": 1}}, "mcp": {}}, "mcp.models", ""),
        (
            {"models": {"a": {"uri": "models:/a/Nonsense", "port": 1}}},
            "models.a.uri",
            "'Nonsense' is no stage; stages are Staging",
        ),
        (
            {"models": {"a": {"uri": "models:/a/1", "port": 1, "environment": "extact"}}},
            "models.a.environment",
            "'extact' is none of: compatible, exact, local; did you mean 'exact'?",
        ),
        ({**GOOD, "registry": {"poll_s": float("inf")}}, "registry.poll_s", "≤ 86400"),
        ({**GOOD, "registry": {"timeout_s": float("nan")}}, "registry.timeout_s", "expected a number > 0"),
        (
            {**GOOD, "log": {"format": 5}},
            "log.format",
            "expected auto or text or json, got the number 5",
        ),
        (
            {"models": {"a": {"uri": "models:/a/1", "port": 1, "env": {"A": "1", "B_2": [2]}}}},
            "models.a.env.B_2",
            "expected text, got a list",
        ),
        (
            {**GOOD, "environments": {"allow": ["files", "disks"]}},
            "environments.allow[1]",
            "'disks' is none of: files, indexes, paths, urls",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_path(document: object, path: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(document)
    assert caught.value.path == path
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_models_on_one_port() -> None:
    models = {"a": {"uri": "models:/a/1", "port": 5001}, "b": {"uri": "models:/b/1", "port": 5001}}
    with pytest.raises(ConfigError, match=r"models\.b\.port: port 5001 is already used by models\.a\.port"):
        parse({"models": models})


def test_port_zero_may_stand_twice_since_each_gets_a_free_one() -> None:
    parse({"models": {"a": {"uri": "models:/a/1", "port": 0}, "b": {"uri": "models:/b/1", "port": 0}}})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("models: {a: {uri: 'models:/a/1', port: 1}\n", "not valid YAML"),
        ("models:\n  a: {uri: 'models:/a/1', port: 1}\n  a: {uri: 'models:/a/2', port: 2}\n", "stands twice"),
        ("models: {a: {uri: 'models:/a/1', port: x}}\n", "models.a.port"),
        ("models:\n\ta: 1\n", ":2: not valid YAML: column 1"),
        ("models: {a: !!python/name:os.system ''}\n", ":1: a tag such as !!python/name:os.system is not taken"),
    ],
)
def test_a_file_is_named_in_its_errors(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_file(file)
    assert str(file) in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_entries_may_share_what_an_anchor_names(tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text(
        """
        gateway: {port: 0}
        models:
          a: &a {uri: "models:/a/1", replicas: 2}
          b: {<<: *a, uri: "models:/b/1"}
        """,
        encoding="utf-8",
    )
    models = load_file(file).models
    assert [(m.uri, m.replicas) for m in models.values()] == [("models:/a/1", 2), ("models:/b/1", 2)]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load_file(tmp_path / "absent.yaml")


def test_relative_paths_start_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "headrace.yaml").write_text(
        """
        gateway: {port: 0}
        models:
          a: {uri: ./a, checks: {file: a.json}, prediction_log: {path: logs}}
          b: {uri: "models:/b/1", prediction_log: {path: ~/logs}}
          "*": {uri: "models:/*@production", prediction_log: {path: all}, checks: {file: all.json}}
        """,
        encoding="utf-8",
    )
    config = load_file(tmp_path / "headrace.yaml")
    a, b, wildcard = config.models["a"], config.models["b"], config.wildcard
    assert a.prediction_log is not None
    assert b.prediction_log is not None
    assert wildcard is not None
    assert wildcard.prediction_log is not None
    assert (a.uri, a.checks.file) == (str(tmp_path / "a"), str(tmp_path / "a.json"))
    assert (a.prediction_log.path, b.prediction_log.path) == (tmp_path / "logs", Path("/home/me/logs"))
    assert (wildcard.uri, wildcard.checks.file) == ("models:/*@production", str(tmp_path / "all.json"))
    assert wildcard.prediction_log.path == tmp_path / "all"


@pytest.mark.parametrize("name", ["m", "*"])
@pytest.mark.parametrize("url", ["redis://h:notaport/0", "http://h"])
def test_a_caches_url_is_checked_for_every_model(name: str, url: str) -> None:
    entry = {"uri": "models:/*@production" if name == "*" else "models:/m/1", "cache": {"url": url}}
    with pytest.raises(ConfigError) as caught:
        parse({"gateway": {"port": 0}, "models": {name: entry}})
    assert caught.value.path == f"models.{name}.cache.url"


def test_home_is_a_path() -> None:
    document = {"home": "/var/cache/headrace", "models": {"topic": {"uri": "models:/topic/1", "port": 5001}}}
    assert parse(document).home == Path("/var/cache/headrace")
    with pytest.raises(ConfigError, match="home: expected a path or null, got the number 3"):
        parse({**document, "home": 3})


def test_a_models_own_configuration_may_hold_anything() -> None:
    own = {"bias": 5, "names": ["a", None], "deep": {"x": 1.5}}
    document = {"models": {"topic": {"uri": "models:/topic/1", "port": 5001, "config": own, "env": {"KEY": "value"}}}}
    assert parse(document).models["topic"].config == own
