"""What warming up finds out about a model."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.worker.models import NUMBER, TEXT, load, texts

pytestmark = pytest.mark.filterwarnings("ignore")


def example(directory: Path, request: Any) -> str:
    (directory / "serving_input_example.json").write_text(json.dumps(request))
    return str(directory)


def test_warming_up_scores_the_example_and_probes_its_rows(tmp_path: Path) -> None:
    path = example(tmp_path, texts("a", "b"))
    scorer, impl = load(lambda data, _: list(data["text"]), TEXT, path=path)
    report, _ = scorer.warm_up()
    assert report["took_s"] > 0
    assert {k: report[k] for k in ("ok", "status", "rows_in", "rows_out")} == {
        "ok": True, "status": 200, "rows_in": 2, "rows_out": 2
    }  # fmt: skip
    assert {text for call in impl.calls for text in call["text"]} == {"a", "b"}
    assert scorer.facts()["mergeable"] is True
    assert scorer.facts()["has_example"] is True


@pytest.mark.parametrize(
    "predict",
    [
        lambda data, _: (data["x"] / data["x"].sum()).tolist(),
        lambda data, _: data["x"].rank().tolist(),
        lambda data, _: [1] * len(data.columns),
        lambda data, _: list(range(len(data))),
    ],
)
def test_a_model_that_answers_by_the_batch_is_found_out_while_warming_up(predict: Any, tmp_path: Path) -> None:
    path = example(tmp_path, {"dataframe_split": {"columns": ["x"], "data": [[1.5], [2.5]]}})
    scorer, _ = load(predict, NUMBER, path=path)
    report, _ = scorer.warm_up()
    assert report["ok"] is True
    assert scorer.facts()["mergeable"] is False
    assert report["reason"] == scorer.facts()["unmergeable_reason"]


def test_a_failing_example_says_so(tmp_path: Path) -> None:
    scorer, _ = load(lambda data, _: data["nothing"], TEXT, path=example(tmp_path, texts("a")))
    report, raised = scorer.warm_up()
    assert (report["ok"], report["status"]) == (False, 400)
    assert report["reason"] == "KeyError: 'nothing'"
    assert [(one["type"], one["text"], one["places"]) for one in raised] == [("KeyError", "'nothing'", [0])]
    assert raised[0]["traceback"].rstrip().endswith("KeyError: 'nothing'")


def test_an_example_that_is_no_request_is_told_as_the_client_would_be(tmp_path: Path) -> None:
    scorer, _ = load(lambda data, _: list(data["text"]), TEXT, path=example(tmp_path, {"rows": ["a"]}))
    report, raised = scorer.warm_up()
    assert (report["ok"], report["status"], raised) == (False, 400, [])
    assert "BAD_REQUEST" in report["reason"]


def test_no_example_is_not_a_failure(tmp_path: Path) -> None:
    scorer, impl = load(lambda data, _: data, TEXT, path=str(tmp_path))
    assert scorer.warm_up()[0]["ok"] is None
    assert impl.calls == []
