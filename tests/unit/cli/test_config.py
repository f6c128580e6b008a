"""`headrace config` says what is wrong with a file, and what it means, without starting anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HEADRACE = Path(sys.executable).with_name("headrace")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(HEADRACE), "config", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env={"PORT": "5001"})


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "headrace.yaml"
    checks = "checks: {file: golden.jsonl}"
    file.write_text(f"models: {{topic: {{uri: 'models:/topic@production', port: '${{PORT}}', {checks}}}}}\n")
    return file


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    file = tmp_path / "bad.yaml"
    file.write_text("models:\n  topic: {uri: models:/topic/3, prot: 5001}\nlog: {level: loud}\n")
    return file


def test_what_fits_is_told_with_its_models(good: Path) -> None:
    done = run("check", good)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "✓ topic: models:/topic@production on port 5001, 1 replica",
        f"· models.topic.checks.file: {good.parent / 'golden.jsonl'} is not on this machine",
        f"{good}: fits",
    ]
    told = json.loads(run("check", good, "--json").stdout)
    assert (told["ok"], [one["path"] for one in told["missing"]]) == (True, ["models.topic.checks.file"])


def test_what_does_not_fit_is_told_at_once(bad: Path) -> None:
    done = run("check", bad)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"headrace: {bad}: 2 mistakes",
        f"{bad}:2: models.topic.prot: unknown key; did you mean 'port'?",
        f"{bad}:3: log.level: 'loud' is none of: debug, error, info, warning",
    ]
    as_json = run("check", bad, "--json")
    told = json.loads(as_json.stdout)
    assert (as_json.returncode, told["ok"], [one["line"] for one in told["problems"]]) == (2, False, [2, 3])


def test_everything_is_shown_with_its_defaults(good: Path) -> None:
    document = yaml.safe_load(run("show", good).stdout)
    assert document["models"]["topic"]["port"] == 5001
    assert document["models"]["topic"]["replicas"] == 1
    assert json.loads(run("show", good, "--json").stdout) == document
    assert yaml.safe_load(run("show").stdout)["models"] == {}


def test_no_file_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "give the file" in run("check").stderr
    assert "no such file" in run("check", tmp_path / "absent.yaml").stderr
