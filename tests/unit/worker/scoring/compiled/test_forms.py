"""Only what is exactly scikit-learn's has a faster form: whatever somebody has changed stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, _forest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier, _classes

from headrace_worker.scoring.compiled import forms
from tests.unit.worker.scoring.compiled.made import KINDS, data, fitted, loaded


class Lying(RandomForestClassifier):  # type: ignore[misc] # scikit-learn has no types
    """Says something else than a forest."""

    def predict(self, X: Any) -> Any:  # noqa: N803 - scikit-learn's name
        return np.zeros(len(X))


def refused(directory: Path, estimator: Any, method: str = "predict") -> str:
    with pytest.raises(forms.NoForm) as caught:
        forms.find(loaded(directory, estimator, method))
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_form_is_found_and_named(kind: str, tmp_path: Path) -> None:
    estimator = fitted(KINDS[kind](), labels="regression" not in kind)
    form = forms.find(loaded(tmp_path, estimator))
    assert type(getattr(estimator, "steps", [(None, estimator)])[-1][1]).__name__ in form.name


def test_a_subclass_is_left_alone(tmp_path: Path) -> None:
    assert refused(tmp_path, fitted(Lying(3))) == "there is no faster form of Lying"


def test_a_subclass_of_the_same_name_is_left_alone(tmp_path: Path) -> None:
    same_name = type("RandomForestClassifier", (RandomForestClassifier,), {"__module__": __name__})
    estimator = fitted(same_name(3))
    model = loaded(tmp_path, fitted(RandomForestClassifier(3)))
    model._model_impl.sklearn_model = estimator  # such a class cannot be pickled by its name
    with pytest.raises(forms.NoForm, match="is not scikit-learn's class of that name"):
        forms.find(model)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_a_method_of_one_object_was_replaced(method: str, tmp_path: Path) -> None:
    model = loaded(tmp_path, fitted(RandomForestClassifier(3)))
    setattr(model._model_impl.sklearn_model, method, lambda data: np.zeros(len(data)))
    with pytest.raises(forms.NoForm, match="a method was replaced: that of one object"):
        forms.find(model)


def test_a_method_of_one_tree_was_replaced(tmp_path: Path) -> None:
    model = loaded(tmp_path, fitted(RandomForestClassifier(3)))
    model._model_impl.sklearn_model.estimators_[1].predict_proba = lambda data, **_: np.zeros((len(data), 3))
    with pytest.raises(forms.NoForm, match="a method was replaced"):
        forms.find(model)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (_forest.ForestClassifier, "predict_proba"),
        (_forest.BaseForest, "_validate_X_predict"),
        (_classes.DecisionTreeClassifier, "predict_proba"),
        (_forest, "_accumulate_prediction"),
    ],
)
def test_a_function_of_the_library_was_replaced(
    owner: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(tmp_path, fitted(RandomForestClassifier(3)))
    forms.find(model)
    original = getattr(owner, name)

    def other(*given: Any, **named: Any) -> Any:
        return original(*given, **named)

    monkeypatch.setattr(owner, name, other)
    with pytest.raises(forms.NoForm, match="replaced"):
        forms.find(model)


def test_a_replacement_that_calls_itself_the_original_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(tmp_path, fitted(RandomForestClassifier(3)), "predict_proba")

    def predict_proba(_: Any, X: Any) -> Any:  # noqa: N803 - scikit-learn's name
        return np.zeros((len(X), 3))

    predict_proba.__wrapped__ = _forest.ForestClassifier.predict_proba  # type: ignore[attr-defined]
    monkeypatch.setattr(_forest.ForestClassifier, "predict_proba", predict_proba)
    with pytest.raises(forms.NoForm, match="replaced"):
        forms.find(model)


def test_several_outputs_are_left_alone(tmp_path: Path) -> None:
    frame, target = data()
    estimator = RandomForestClassifier(3).fit(frame, np.stack([target, target == 1], axis=1))
    assert refused(tmp_path, estimator) == "it has several outputs"


def test_other_classes_are_left_alone(tmp_path: Path) -> None:
    assert refused(tmp_path, fitted(BaggingClassifier())) == "there is no faster form of BaggingClassifier"


def test_steps_with_code_of_their_own_or_that_write_are_left_alone(tmp_path: Path) -> None:
    own = make_pipeline(FunctionTransformer(np.abs), DecisionTreeClassifier())
    assert "FunctionTransformer, which is not known" in refused(tmp_path / "own", fitted(own))
    writes = make_pipeline(StandardScaler(copy=False), DecisionTreeClassifier())
    assert "StandardScaler, changes its input" in refused(tmp_path / "writes", fitted(writes))
