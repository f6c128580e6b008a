"""The faster form answers only when it is proved, and never again after one difference."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from headrace_worker.scoring.compiled import install, kept
from headrace_worker.scoring.compiled.predictor import SHADOW_ROWS, Predictor
from tests.unit.worker.scoring.compiled.made import data, fitted, loaded

DIGEST = "ab" * 32
FRAME = data(SHADOW_ROWS, seed=9)[0]


def made(directory: Path, method: str = "predict_proba") -> tuple[Any, Predictor]:
    model = loaded(directory, fitted(RandomForestClassifier(5, random_state=1)), method)
    return model, install(model, str(directory / "home" / "models" / DIGEST))


def counting(predictor: Predictor) -> list[int]:
    """The rows that the faster form is asked for from now on; it answers as before."""
    asked: list[int] = []
    fast = predictor._form.fast

    def count(given: Any) -> Any:
        asked.append(len(given))
        return fast(given)

    predictor._form = predictor._form._replace(fast=count)
    return asked


def lying(predictor: Predictor) -> None:
    """Its faster form is wrong for what begins with a value above 2, from now on."""
    fast = predictor._form.fast
    predictor._form = predictor._form._replace(fast=lambda given: fast(given) + (given.iloc[:, :1].to_numpy() > 2))


def test_the_original_answers_until_the_proof_has_ended(tmp_path: Path) -> None:
    model, predictor = made(tmp_path)
    asked = counting(predictor)
    model.predict(FRAME[:3])
    assert (predictor.state, asked) == ("proving", [])
    predictor.prove(60)
    assert predictor.state == "shadow"
    assert predictor.proved_rows > 1000
    assert asked, "what was asked before the proof is a pattern for it"


def test_both_answer_a_thousand_live_rows_and_then_few(tmp_path: Path) -> None:
    model, predictor = made(tmp_path)
    plain = model._model_impl.sklearn_model.predict_proba(FRAME)
    predictor.prove(60)
    for row in range(0, SHADOW_ROWS, 50):
        assert predictor.state == "shadow"
        assert model.predict(FRAME[row : row + 50]).tobytes() == plain[row : row + 50].tobytes()
    assert (predictor.state, predictor.equal_rows) == ("compiled", SHADOW_ROWS)
    for _ in range(300):
        assert model.predict(FRAME[:1]).tobytes() == plain[:1].tobytes()
    assert predictor.equal_rows == SHADOW_ROWS + 3, "the 64th, the 128th and the 256th"
    assert predictor.different_rows == 0


def test_what_is_declined_is_answered_or_refused_by_the_original(tmp_path: Path) -> None:
    model, predictor = made(tmp_path)
    predictor.prove(60)
    missing = FRAME[:2].copy()
    missing.iloc[0, 0] = np.inf
    for state in ("shadow", "compiled"):
        predictor.state = state
        with pytest.raises(ValueError, match="infinity"):
            model.predict(missing)
        assert predictor.state == state


def test_a_difference_in_shadow_goes_back_for_good_and_keeps_the_row(tmp_path: Path) -> None:
    model, predictor = made(tmp_path)
    plain = model._model_impl.sklearn_model.predict_proba(FRAME)
    predictor.prove(60)
    lying(predictor)
    place = int(np.argmax(FRAME["c0"].to_numpy() > 2))
    answers = [model.predict(FRAME[row : row + 1]) for row in range(place + 5)]
    assert np.concatenate(answers).tobytes() == plain[: place + 5].tobytes(), "nobody is answered something else"
    assert (predictor.state, predictor.equal_rows, predictor.different_rows) == ("refused", place, 1)
    file = tmp_path / "home" / "compiled" / f"{DIGEST}.json"
    said = json.loads(file.read_text())
    assert said["input"] == {"columns": list(FRAME.columns), "data": FRAME[place : place + 1].to_numpy().tolist()}
    assert str(file) in predictor.reason
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)


def test_one_process_finds_a_difference_and_all_go_back(tmp_path: Path) -> None:
    _, finds = made(tmp_path / "one")
    _, other = made(tmp_path / "other")
    other._file = finds._file
    other.prove(60)
    finds.prove(60)
    lying(finds)
    finds(FRAME)
    assert (finds.state, other.state) == ("refused", "shadow")
    other.look()
    assert other.state == "refused"
    _, later = made(tmp_path / "one" / "again")
    later._file = finds._file
    later.look()
    later.prove(60)
    assert (later.state, later.proved_rows) == ("refused", 0)


def test_a_difference_in_a_sample_goes_back(tmp_path: Path) -> None:
    model, predictor = made(tmp_path)
    predictor.prove(60)
    predictor.state = "compiled"
    lying(predictor)
    high = FRAME[FRAME["c0"] > 2][:1]
    for _ in range(63):
        model.predict(FRAME[FRAME["c0"] < 2][:1])
    model.predict(high)
    assert predictor.state == "refused"


def test_a_difference_that_the_proof_finds(tmp_path: Path) -> None:
    _, predictor = made(tmp_path)
    last = predictor._form.fast_last
    predictor._form = predictor._form._replace(fast_last=lambda given: last(given).astype("float32"))
    predictor.prove(60)
    assert predictor.state == "refused"


def test_a_form_that_breaks_is_a_difference(tmp_path: Path) -> None:
    def breaks(_: Any) -> Any:
        raise ZeroDivisionError

    model, predictor = made(tmp_path)
    predictor.prove(60)
    predictor._form = predictor._form._replace(fast=breaks)
    assert len(model.predict(FRAME[:1])) == 1
    assert (predictor.state, predictor.reason.partition(":")[0]) == ("refused", "it raised where the original answered")


def test_a_proof_that_takes_too_long_leaves_the_original(tmp_path: Path) -> None:
    _, predictor = made(tmp_path)
    predictor.prove(0)
    assert (predictor.state, predictor.reason) == ("none", "its proof has not ended within compile_s (0 s)")


def test_a_model_without_a_form_is_not_touched(tmp_path: Path) -> None:
    model = loaded(tmp_path, fitted(RandomForestClassifier(3)))
    model._model_impl.sklearn_model.predict = len
    before = model._predict_fn
    predictor = install(model, str(tmp_path))
    assert model._predict_fn is before
    predictor.prove(60)
    assert predictor.told()["state"] == "none"


def test_only_copies_of_headraces_own_have_a_place(tmp_path: Path) -> None:
    assert kept.place(str(tmp_path)) is None
    assert kept.place(str(tmp_path / "models" / DIGEST)) == str(tmp_path / "compiled" / f"{DIGEST}.json")


def test_a_disk_that_takes_nothing_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "compiled").write_text("in the way")
    assert not kept.keep(str(tmp_path / "compiled" / "x.json"), {})
