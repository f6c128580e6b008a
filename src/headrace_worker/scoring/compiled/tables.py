"""Tables as numbers, and estimators of scikit-learn that are given the numbers instead of the table.

What scikit-learn does with a DataFrame before it computes (are the columns those it has learnt, what are their types,
an array of it) takes most of the time of a row through a linear model. Here the columns are compared once, and the
estimator, without the names that it would compare again, gets the array that it would make. All that it computes is its
own code on the same array, so the bytes are the same.
"""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ESTIMATORS = {
    "LinearRegression", "Ridge", "Lasso", "ElasticNet", "LogisticRegression", "SGDClassifier", "SGDRegressor",
    "LinearSVC", "LinearSVR", "GaussianNB", "MLPClassifier", "MLPRegressor", "GradientBoostingClassifier",
    "GradientBoostingRegressor", "HistGradientBoostingClassifier", "HistGradientBoostingRegressor",
}  # fmt: skip

_TRANSFORMERS = {"StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "PCA", "VarianceThreshold"}

_INSIDE = ("predict", "predict_proba", "decision_function", "_decision_function", "transform")


class Declined(Exception):
    """This input is not for the faster form; the original answers it."""


class Numbers:
    """Reads the input of one estimator; `names` are the columns that it has learnt, None where it knows none."""

    def __init__(self, estimator: Any) -> None:
        import numpy as np
        import pandas as pd

        self._array, self._frame = np.ndarray, pd.DataFrame
        self.width = int(estimator.n_features_in_)
        names = getattr(estimator, "feature_names_in_", None)
        self.names: list[str] | None = None if names is None else list(names)
        self._seen: Any = None

    def read(self, data: Any) -> Any:
        """The array that scikit-learn would make of a table of numbers; raises Declined for all else."""
        if type(data) is self._frame:
            if data.columns is not self._seen:
                if self.names is not None and list(data.columns) != self.names:
                    raise Declined("its columns have other names")
                self._seen = data.columns
            values = data.to_numpy()
        elif type(data) is self._array and self.names is None:
            values = data
        else:
            raise Declined(f"it is a {type(data).__name__}")
        if values.ndim != 2 or values.shape[1] != self.width or not len(values):
            raise Declined("its shape is another")
        if values.dtype.kind not in "fiu":
            raise Declined(f"its type is {values.dtype}")
        return values


class Core:
    """An estimator that gets the numbers of its table; an instance does what `method` does, or raises Declined."""

    def __init__(self, estimator: Any, method: str) -> None:
        self._numbers = Numbers(estimator)
        self.width, self.names = self._numbers.width, self._numbers.names
        self.told = "given numbers instead of a table"
        self._estimator = estimator
        bare = estimator
        if self.names is not None:
            bare = copy.copy(estimator)
            del bare.feature_names_in_
        self._call = getattr(bare, method)

    def __call__(self, data: Any) -> Any:
        """Answer a DataFrame, or an array, of numbers; raises Declined, and what the estimator raises."""
        return self._call(self._numbers.read(data))

    def splits(self) -> Iterator[tuple[Any, Any]]:
        """(features, thresholds) of each of its trees; none where it is no tree."""
        for several in getattr(self._estimator, "_predictors", ()):
            for one in several:
                inner = one.nodes["is_leaf"] == 0
                yield one.nodes["feature_idx"][inner].astype(int), one.nodes["num_threshold"][inner]
        for trees in getattr(self._estimator, "estimators_", ()):
            for tree in trees:
                inner = tree.tree_.feature >= 0
                yield tree.tree_.feature[inner], tree.tree_.threshold[inner]


def core(estimator: Any, method: str, is_own: Callable[[Any, str], bool]) -> Core | str:
    """The estimator with its numbers, or why there is none. `is_own` says what was not replaced."""
    cls = type(estimator)
    if cls.__name__ not in _ESTIMATORS:
        return f"there is no faster form of {cls.__name__}"
    replaced = _replaced(estimator, is_own)
    if replaced is not None:
        return replaced
    if getattr(estimator, "init", None) is not None and "GradientBoosting" in cls.__name__:
        return "it begins with an estimator of its own"
    if getattr(estimator, "_preprocessor", None) is not None or getattr(estimator, "is_categorical_", None) is not None:
        return "it has categories"
    if getattr(estimator, "verbose", 0):
        return "it tells its progress"
    return Core(estimator, method)


def transform(step: Any, is_own: Callable[[Any, str], bool]) -> Callable[[Any], Any] | None:
    """A transformer that gets the numbers of its table; None where it has to get the table."""
    is_known = type(step).__name__ in _TRANSFORMERS and _replaced(step, is_own) is None
    if not is_known or "_sklearn_output_config" in vars(step) or getattr(step, "feature_names_in_", None) is None:
        return None
    return Core(step, "transform")


def _replaced(estimator: Any, is_own: Callable[[Any, str], bool]) -> str | None:
    cls = type(estimator)
    if (
        not cls.__module__.startswith("sklearn.")
        or getattr(sys.modules.get(cls.__module__), cls.__name__, None) is not cls
    ):
        return f"{cls.__name__} is not scikit-learn's class of that name"
    for name in _INSIDE:
        if name in vars(estimator):
            return "a method was replaced: that of one object"
        if hasattr(cls, name) and not is_own(cls, name):
            return f"a method was replaced: {cls.__name__}.{name}"
    return None
