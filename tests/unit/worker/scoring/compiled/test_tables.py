"""Estimators that are given numbers instead of a table answer the same bytes; what is no table of numbers is left."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import ensemble as boosting
from sklearn import linear_model, naive_bayes, neural_network, svm
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headrace_worker.scoring.compiled import forms, install
from headrace_worker.scoring.compiled.alike import edge_rows, mutations, same
from headrace_worker.scoring.compiled.tables import Declined
from tests.unit.worker.scoring.compiled.made import data, fitted, loaded
from tests.unit.worker.scoring.compiled.test_trees import LARGE

KINDS: dict[str, Any] = {
    "LinearRegression": linear_model.LinearRegression,
    "Ridge": linear_model.Ridge,
    "Lasso": lambda: linear_model.Lasso(0.01),
    "ElasticNet": lambda: linear_model.ElasticNet(0.01),
    "LogisticRegression": linear_model.LogisticRegression,
    "SGDClassifier": linear_model.SGDClassifier,
    "SGDRegressor": linear_model.SGDRegressor,
    "LinearSVC": svm.LinearSVC,
    "LinearSVR": svm.LinearSVR,
    "GaussianNB": naive_bayes.GaussianNB,
    "MLPClassifier": lambda: neural_network.MLPClassifier(hidden_layer_sizes=(8,), max_iter=3),
    "MLPRegressor": lambda: neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=3),
    "GradientBoostingClassifier": lambda: boosting.GradientBoostingClassifier(n_estimators=5),
    "GradientBoostingRegressor": lambda: boosting.GradientBoostingRegressor(n_estimators=5),
    "HistGradientBoostingClassifier": lambda: boosting.HistGradientBoostingClassifier(max_iter=5),
    "HistGradientBoostingRegressor": lambda: boosting.HistGradientBoostingRegressor(max_iter=5),
    "Pipeline": lambda: make_pipeline(StandardScaler(), linear_model.LogisticRegression()),
}
REGRESSIONS = {"LinearRegression", "Ridge", "Lasso", "ElasticNet", "LinearSVR"}


def found(kind: str, method: str, directory: Path) -> forms.Form | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator = fitted(KINDS[kind](), labels=not (kind.endswith("Regressor") or kind in REGRESSIONS))
    return forms.find(loaded(directory, estimator, method)) if hasattr(estimator, method) else None


def compare(kind: str, method: str, directory: Path, *, large: bool = False) -> int:
    form = found(kind, method, directory)
    compared = 0
    if form is None:
        return 100_000
    frame, _ = data(300, seed=3)
    whole = [frame, *mutations(frame, 8)]
    edges = edge_rows(form.core, 60, 4, LARGE) if large else edge_rows(form.core, 1, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of floats that are too large
        for reference, fast, given in [
            *((form.reference, form.fast, one) for one in whole),
            *((form.last, form.fast_last, one) for one in edges),
        ]:
            try:
                answer = reference(given)
            except ValueError:
                with pytest.raises((ValueError, Declined)):
                    fast(given)
                continue
            assert same(answer, fast(given)), (kind, method, given)
            compared += len(given)
    return compared


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_are_the_same(kind: str, method: str, tmp_path: Path) -> None:
    assert compare(kind, method, tmp_path) > 300


@pytest.mark.slow
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_are_the_same_of_a_hundred_thousand_rows(kind: str, method: str, tmp_path: Path) -> None:
    assert compare(kind, method, tmp_path, large=True) >= 100_000


def test_a_scaler_in_front_is_given_numbers_too(tmp_path: Path) -> None:
    form = found("Pipeline", "predict_proba", tmp_path)
    assert form is not None
    assert form.name.startswith("StandardScaler + LogisticRegression.predict_proba")
    with pytest.raises(Declined):
        form.fast(data(3)[0].rename(columns={"c1": "other"}))


def test_tables_of_other_types_are_left_to_the_library(tmp_path: Path) -> None:
    form = found("Ridge", "predict", tmp_path)
    assert form is not None
    frame = data(4)[0]
    for given in (frame.astype(str), frame.astype("Float64").mask(frame > 0), frame.to_numpy(), frame.iloc[:0]):
        with pytest.raises(Declined):
            form.fast(given)
    for given in (frame.astype("float32"), (frame * 10).astype("int32"), frame.assign(c1=range(4))):
        assert same(form.reference(given), form.fast(given))


def test_what_is_raised_is_the_originals(tmp_path: Path) -> None:
    model = loaded(tmp_path, fitted(linear_model.LogisticRegression()), "predict_proba")
    predictor = install(model, str(tmp_path))
    predictor.prove(60)
    missing = data(2)[0]
    missing.iloc[0, 0] = np.nan
    for state in ("shadow", "compiled"):
        predictor.state = state
        with pytest.raises(ValueError, match="LogisticRegression does not accept missing values"):
            model.predict(missing)
        assert predictor.state == state


def refused(estimator: Any, directory: Path) -> str:
    with pytest.raises(forms.NoForm) as caught:
        forms.find(loaded(directory, estimator))
    return str(caught.value)


def test_what_is_not_known_to_be_the_same_is_left_alone(tmp_path: Path) -> None:
    assert "no names of columns" in refused(fitted(linear_model.Ridge(), labels=False, as_array=True), tmp_path / "a")
    own = boosting.GradientBoostingClassifier(n_estimators=2, init=DummyClassifier())
    assert refused(fitted(own), tmp_path / "b") == "it begins with an estimator of its own"
    frame, target = data()
    frame["c0"] = (frame["c0"] * 3).astype(int)
    categories = boosting.HistGradientBoostingClassifier(max_iter=2, categorical_features=["c0"])
    frame["c0"] -= frame["c0"].min()
    assert refused(categories.fit(frame, target), tmp_path / "c") == "it has categories"


def test_a_replaced_decision_function_is_found(tmp_path: Path) -> None:
    model = loaded(tmp_path, fitted(linear_model.LogisticRegression()))
    model._model_impl.sklearn_model.decision_function = lambda given: np.zeros((len(given), 3))
    with pytest.raises(forms.NoForm, match="a method was replaced"):
        forms.find(model)
