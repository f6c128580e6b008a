"""Trees and forests of scikit-learn: each tree's own compiled function called at once, in one thread, and summed up.

A forest answers a row in 12 ms where its trees take 0.4 ms together: the rest is joblib, and checks of the same input
by each tree. Here the input is checked once. What a tree answers, the order in which answers are added and the type of
the sum are scikit-learn's, so the bytes are, too. What scikit-learn would refuse, warn of or treat in another way
(NaN, infinities, other types, another number of columns, sparse input) is declined: the original answers that.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from headrace_worker.scoring.compiled.tables import Declined, Numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_ROWS = 1024
"""Rows of one call; beyond them the forest's own threads are the better way."""

_FORESTS = {
    "RandomForestClassifier": "DecisionTreeClassifier",
    "ExtraTreesClassifier": "ExtraTreeClassifier",
    "RandomForestRegressor": "DecisionTreeRegressor",
    "ExtraTreesRegressor": "ExtraTreeRegressor",
}
_TREES = set(_FORESTS.values())
_INSIDE = ("predict", "predict_proba", "_validate_X_predict")


def core(estimator: Any, method: str, is_own: Callable[[Any, str], bool]) -> Core | str:
    """The faster form of one method of an estimator, or why there is none. `is_own` says what was not replaced."""
    cls = type(estimator)
    is_forest, is_tree = cls.__name__ in _FORESTS, cls.__name__ in _TREES
    if not is_forest and not is_tree:
        return f"there is no faster form of {cls.__name__}"
    if not _is_of(cls, "sklearn.ensemble._forest" if is_forest else "sklearn.tree._classes"):
        return f"{cls.__name__} is not scikit-learn's class of that name"
    if _version() < (1, 3):
        return "scikit-learn before 1.3 keeps its trees in another form"
    trees = list(estimator.estimators_) if is_forest else [estimator]
    one = type(trees[0])
    if is_forest and (one.__name__ != _FORESTS[cls.__name__] or not _is_of(one, "sklearn.tree._classes")):
        return f"its trees are not of the class {_FORESTS[cls.__name__]}"
    replaced = [
        f"{owner.__name__}.{name}"
        for owner in {cls, one}
        for name in _INSIDE
        if hasattr(owner, name) and not is_own(owner, name)
    ]
    if replaced or any(set(_INSIDE) & set(vars(each)) for each in [estimator, *trees]):
        return f"a method was replaced: {replaced[0] if replaced else 'that of one object'}"
    if is_forest and (estimator.verbose or not _sums_up(cls)):
        return "it tells its progress" if estimator.verbose else "a function of scikit-learn's was replaced"
    kind: Any = vars(sys.modules["sklearn.tree._tree"])["Tree"]
    if any(type(tree) is not one or type(tree.tree_) is not kind for tree in trees):
        return "its trees are of several classes"
    if estimator.n_outputs_ != 1 or any(tree.tree_.n_outputs != 1 for tree in trees):
        return "it has several outputs"
    if cls.__name__.endswith("Classifier") and len({int(tree.n_classes_) for tree in trees}) != 1:
        return "its trees know different classes"
    return Core(estimator, method, trees, is_forest=is_forest)


def is_known(estimator: Any) -> bool:
    """Whether an estimator has the name of a tree or a forest."""
    return type(estimator).__name__ in {*_FORESTS, *_TREES}


def _is_of(cls: Any, module: str) -> bool:
    return cls.__module__ == module and getattr(sys.modules.get(module), cls.__name__, None) is cls


def _sums_up(cls: Any) -> bool:
    module: Any = sys.modules[cls.__module__]
    code = getattr(getattr(module, "_accumulate_prediction", None), "__code__", None)
    return code is not None and code.co_filename == module.__file__


def _version() -> tuple[int, ...]:
    library: Any = sys.modules["sklearn"]
    return tuple(int(part) for part in library.__version__.split(".")[:2])


class Core:
    """Calls the trees of one estimator; an instance does what `method` of the estimator does, or raises Declined."""

    def __init__(self, estimator: Any, method: str, trees: list[Any], *, is_forest: bool) -> None:
        import numpy as np

        self._np = np
        self.trees = [tree.tree_ for tree in trees]
        self._calls = [tree.predict for tree in self.trees]
        self._divide = len(self._calls) if is_forest else None
        self._is_classifier = type(estimator).__name__.endswith("Classifier")
        self._columns = int(estimator.n_classes_) if self._is_classifier else 1
        self._classes = estimator.classes_ if self._is_classifier and method == "predict" else None
        self._numbers = Numbers(estimator)
        self.width, self.names = self._numbers.width, self._numbers.names
        self.told = f"{len(self.trees)} trees in one thread" if is_forest else "one tree"

    def __call__(self, data: Any) -> Any:
        """Answer a DataFrame or an array of numbers; raises Declined."""
        np = self._np
        given = self._matrix(data)
        if self._divide is None:
            answer = self._calls[0](given)
        else:
            answer = np.zeros((len(given), self._columns), dtype=np.float64)
            for call in self._calls:
                answer += call(given)
            answer /= self._divide
        if not self._is_classifier:
            return answer[:, 0] if self._divide is None else answer.reshape(-1)
        if self._classes is not None:
            return self._classes.take(np.argmax(answer, axis=1), axis=0)
        return answer[:, : self._columns]

    def splits(self) -> Iterator[tuple[Any, Any]]:
        """(features, thresholds) of each tree."""
        for tree in self.trees:
            inner = tree.feature >= 0
            yield tree.feature[inner], tree.threshold[inner]

    def _matrix(self, data: Any) -> Any:
        np = self._np
        values = self._numbers.read(data)
        if len(values) > MOST_ROWS:
            raise Declined(f"it has more than {MOST_ROWS} rows")
        with np.errstate(all="ignore"):
            given = np.asarray(values, dtype=np.float32)
        if not np.isfinite(given).all():
            raise Declined("it has values that are not finite")
        return given
