"""A faster form of a model: proved while the original serves, shown, and given up for good after one difference."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.serving import HEADRACE, Serving, ask, serving, until
from tests.processes import command

BUILD = Path(__file__).with_name("build_forests.py")
COLUMNS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def forests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("forests")
    done = subprocess.run([sys.executable, BUILD, directory], capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    return directory


def configuration(models: dict[str, dict[str, Any]]) -> dict[str, Any]:
    common = {"port": 0, "environment": "local"}
    return {
        "admin": {"port": 0},
        "health": {"hung_after_s": 8},  # states are told when processes are asked whether they are there
        "models": {name: {**common, **model} for name, model in models.items()},
    }


def rows(*firsts: float) -> dict[str, Any]:
    return {"dataframe_split": {"columns": COLUMNS, "data": [[first, 0.25, -1.5, 3.0] for first in firsts]}}


def state(one: Serving, model: str, wanted: str) -> dict[str, Any]:
    """The form of the version that serves, once it is in that state."""

    def found() -> dict[str, Any] | None:
        told: dict[str, Any] | None = one.status(model)["current"]["compiled"]
        return told if told is not None and told["state"] == wanted else None

    told: dict[str, Any] = until(found, f"{model} to be {wanted}")
    return told


@pytest.fixture(scope="module")
def served(forests: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, Path]]:
    directory = tmp_path_factory.mktemp("served")
    models: dict[str, dict[str, Any]] = {
        "forest": {"uri": str(forests / "forest")},
        "plain": {"uri": str(forests / "forest"), "compile": "off"},
        "bagging": {"uri": str(forests / "bagging")},
        "needs": {"uri": str(forests / "bagging"), "compile": "require"},
        "has": {"uri": str(forests / "forest"), "compile": "require"},
        "rare": {"uri": str(forests / "rare"), "replicas": 2},
    }
    with serving(directory, configuration(models)) as one:
        yield one, directory


def metrics(one: Serving) -> list[str]:
    return re.findall(r"^headrace_compiled_.*$", ask(f"{one.admin}/metrics").body.decode(), re.MULTILINE)


def test_a_forest_answers_the_same_bytes_by_its_faster_form(served: tuple[Serving, Path]) -> None:
    one, _ = served
    told = state(one, "forest", "shadow")
    assert (told["form"], told["reason"]) == ("RandomForestClassifier.predict_proba, 20 trees in one thread", "")
    assert told["proved_rows"] > 1000
    body = rows(*(i / 100 for i in range(-200, 200)))
    plain = ask(f"{one.url('plain')}/invocations", body).body
    for _ in range(3):
        assert ask(f"{one.url('forest')}/invocations", body).body == plain
    assert state(one, "forest", "compiled")["equal_rows"] >= 1000
    assert ask(f"{one.url('forest')}/invocations", body).body == plain
    assert one.status("plain")["current"]["compiled"] is None
    assert any(line.startswith("headrace_compiled_info") and '"compiled"' in line for line in metrics(one))


def test_errors_are_those_of_the_original(served: tuple[Serving, Path]) -> None:
    one, _ = served
    state(one, "has", "shadow")
    for body in (rows(float("inf")), {"dataframe_split": {"columns": ["a"], "data": [[1.0]]}}):
        plain, answer = (ask(f"{one.url(model)}/invocations", body) for model in ("plain", "has"))
        assert (answer.status, answer.json["message"]) == (plain.status, plain.json["message"])
        assert answer.status == 400


def test_a_model_without_a_form_says_why(served: tuple[Serving, Path]) -> None:
    one, _ = served
    assert state(one, "bagging", "none")["reason"] == "there is no faster form of BaggingRegressor"


def test_a_version_that_must_have_a_form_does_not_serve_without(served: tuple[Serving, Path]) -> None:
    one, _ = served
    problem = until(lambda: one.status("needs")["problem"], "a refusal")
    assert "it has no faster form: there is no faster form of BaggingRegressor" in problem
    assert one.status("needs")["current"] is None


def test_a_difference_goes_back_for_good(served: tuple[Serving, Path], forests: Path) -> None:
    one, directory = served
    state(one, "rare", "shadow")
    url = f"{one.url('rare')}/invocations"
    assert ask(url, rows(1.0, 2.0)).status == 200
    first = ask(url, rows(1.0, 777.0))
    told = state(one, "rare", "refused")
    assert ask(url, rows(1.0, 777.0)).body == first.body, "the original's answer, before and after"
    assert sum(first.json["predictions"][1]) > 2, "as the model's own code has it"
    (file,) = (directory / "home" / "compiled").iterdir()
    assert str(file) in told["reason"]
    assert json.loads(file.read_text())["input"] == {"columns": COLUMNS, "data": [[777.0, 0.25, -1.5, 3.0]]}
    one.event("faster form refused", model="rare")
    assert any("refused" in line for line in metrics(one) if 'model="rare"' in line)
    # Whoever comes later knows: a replica that takes another's place, and another start.
    for process in one.processes("role=replica"):
        if "rare" in command(process):
            process.kill()
    until(lambda: one.status("rare")["current"]["restarts"] >= 2, "two replicas to be replaced")
    state(one, "rare", "refused")
    with serving(directory, configuration({"rare": {"uri": str(forests / "rare")}})) as again:
        assert "before: see" in state(again, "rare", "refused")["reason"]
    assert list(file.parent.iterdir()) == [file]


def compile_command(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "HEADRACE_HOME": str(directory), "COLUMNS": "200"}
    asked = [HEADRACE, "compile", "--local", *arguments]
    return subprocess.run(asked, capture_output=True, text=True, check=False, timeout=280, env=environ)


@pytest.mark.slow
def test_the_command_says_what_would_be_done(forests: Path, tmp_path: Path) -> None:
    forest, bagging = str(forests / "forest"), str(forests / "bagging")
    done = compile_command(tmp_path, "-m", forest, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)[forest]
    assert (told["state"], told["different_rows"]) == ("shadow", 0)
    assert told["proved_rows"] > 1000
    assert set(told["us"]) == {"one", "one_was", "64", "64_was"}
    both = compile_command(tmp_path, "-m", forest, "-m", bagging)
    assert both.returncode == 1
    assert "RandomForestClassifier.predict_proba, 20 trees in one thread" in both.stdout
    assert "none: there is no faster form of BaggingRegressor" in both.stdout
    assert compile_command(tmp_path).returncode == 2


def test_the_command_tells_of_a_process_that_dies_and_of_a_difference(forests: Path, tmp_path: Path) -> None:
    dies = tmp_path / "dies"
    shutil.copytree(forests / "rare", dies)
    (dies / "code" / "rarely.py").write_text("import os\nos._exit(7)\n")
    done = compile_command(tmp_path, "-m", str(dies), "--json")
    assert done.returncode == 1
    assert (
        json.loads(done.stdout)[str(dies)]["reason"] == "its process ended (exit code 7) before it could say anything"
    )
    always = tmp_path / "always"
    shutil.copytree(forests / "rare", always)
    code = (forests / "rare" / "code" / "rarely.py").read_text().replace("== 777", "> -1")
    (always / "code" / "rarely.py").write_text(code)
    done = compile_command(tmp_path, "-m", str(always))
    assert done.returncode == 1
    assert "refused: its answer is not the same to the byte" in done.stdout
