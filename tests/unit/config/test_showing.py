"""A configuration is shown whole, loads again, and gives no secret away."""

from pathlib import Path

import pytest
import yaml

from headrace.config import tree
from headrace.config.load import load_file
from headrace.config.showing import missing_files, shown

TEXT = """\
auth: {issuers: {id: {issuer: "https://id", audiences: [a], roles_claim: r, client: {id: c, secret: pass7}}}}
registry: {tracking_uri: "http://me:pass1@host", webhook_secret: "${SECRET}"}
gateway: {port: 0}
models:
  topic:
    uri: models:/topic@production
    timeout_s: 2m
    cache: {url: "redis://:pass2@host:6379/0"}
    env: {API_KEY: pass3}
  "*": {uri: "models:/*@production", env: {API_KEY: pass4}, cache: {url: "redis://:pass5@host:6379/0"}}
"""


@pytest.fixture
def config(tmp_path: Path) -> tree.Config:
    (tmp_path / "headrace.yaml").write_text(TEXT, encoding="utf-8")
    return load_file(tmp_path / "headrace.yaml", {"SECRET": "pass6"})


def test_what_is_shown_has_every_setting_and_loads_again(config: tree.Config, tmp_path: Path) -> None:
    document = shown(config)
    assert document["models"]["topic"]["timeout_s"] == 120.0
    assert document["models"]["topic"]["rollout"]["bake_s"] == tree.Rollout().bake_s
    assert list(document["models"]) == ["topic", "*"]
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    assert shown(load_file(again, {})) == document


def test_no_secret_is_shown(config: tree.Config) -> None:
    assert "pass" not in yaml.safe_dump(shown(config)).replace("pass_env", "")


def test_files_that_are_not_here_are_told(tmp_path: Path) -> None:
    text = "models: {a: {uri: ./model, port: 0, checks: {file: golden.jsonl}}}\nenvironments: {wheels: wheels}\n"
    (tmp_path / "headrace.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "model").mkdir()
    told = missing_files(load_file(tmp_path / "headrace.yaml", {}))
    assert told == [
        ("environments.wheels", str(tmp_path / "wheels")),
        ("models.a.checks.file", str(tmp_path / "golden.jsonl")),
    ]
