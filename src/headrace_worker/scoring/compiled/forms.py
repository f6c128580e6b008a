"""Which models have a faster form, and which: found by exact classes and by functions that nobody has replaced.

A model qualifies where MLflow's own scikit-learn flavor hands its input to a forest or a tree of scikit-learn's, alone
or behind transformers that only read what they are given. A subclass, a method that was patched, an attribute in front
of a method: then its author has changed something, and the model stays as it is.
"""

from __future__ import annotations

import copy
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from headrace_worker.scoring.compiled import tables, trees

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

METHODS = ("predict", "predict_proba")

_WRAPPER = "mlflow.sklearn", "_SklearnModelWrapper"

# Transformers of scikit-learn that neither change what they are given nor keep anything of it.
_TRANSFORMERS = {
    "StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "SimpleImputer", "OneHotEncoder",
    "OrdinalEncoder", "PCA", "TruncatedSVD", "SelectKBest", "VarianceThreshold",
}  # fmt: skip


class NoForm(Exception):
    """There is no faster form of this model; the message says why, for an operator."""


class Core(Protocol):
    """A faster form of one estimator's method; `width` and `names` are its columns, None where it knows no names."""

    width: int
    names: list[str] | None
    told: str

    def __call__(self, data: Any) -> Any:
        """What the method answers; raises `tables.Declined`."""

    def splits(self) -> Iterator[tuple[Any, Any]]:
        """(features, thresholds) of each of its trees."""


class Form(NamedTuple):
    """One model's faster form.

    `name` says what it is. `reference` is the whole model, as it adds up in one thread; `fast` does the same, or raises
    `tables.Declined`. `last` and `fast_last` are the same for the last step alone, and `core` is what knows that step.
    """

    name: str
    reference: Callable[[Any], Any]
    fast: Callable[[Any], Any]
    last: Callable[[Any], Any]
    fast_last: Callable[[Any], Any]
    core: Core


def find(model: Any) -> Form:
    """The form of a loaded pyfunc model; raises NoForm."""
    # A model cannot be of scikit-learn where that was not imported.
    library: Any = sys.modules.get("sklearn")
    if library is None:
        raise NoForm("it is not a model of scikit-learn")
    estimator, method = _target(model)
    steps, last = _steps(estimator, method, library)
    core, first = _core(last, method, steps, lambda cls, name: _is_own(cls, name, library))
    single = last
    if getattr(last, "n_jobs", None) not in (None, 1):
        # Threads add up in the order in which they happen to end; one thread's order is one of those.
        single = copy.copy(last)
        single.n_jobs = 1
    reference_last = getattr(single, method)
    transforms = [step.transform for step in steps]
    whole = reference_last if not transforms else _chain(transforms, reference_last)
    fast = core if not transforms else _chain([first or transforms[0], *transforms[1:]], core)
    before = "".join(f"{type(step).__name__} + " for step in steps)
    return Form(f"{before}{type(last).__name__}.{method}, {core.told}", whole, fast, reference_last, core, core)


def _core(
    last: Any, method: str, steps: list[Any], is_own: Callable[[Any, str], bool]
) -> tuple[Core, Callable[[Any], Any] | None]:
    """The last step's faster form, and that of the first transformer, None where that stays as it is; raises NoForm."""
    first = tables.transform(steps[0], is_own) if steps else None
    found: Core | str = trees.core(last, method, is_own)
    if isinstance(found, str) and trees.is_known(last):
        raise NoForm(found)
    if isinstance(found, str):
        found = tables.core(last, method, is_own)
        if isinstance(found, str):
            raise NoForm(found)
        if found.names is None and first is None:
            raise NoForm("it knows no names of columns, and is given its numbers as they are")
    return found, first


def _chain(transforms: list[Callable[[Any], Any]], last: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def run(data: Any) -> Any:
        for transform in transforms:
            data = transform(data)
        return last(data)

    return run


def _target(model: Any) -> tuple[Any, str]:
    """The estimator that MLflow's own flavor asks, and its method."""
    predict = getattr(model, "_predict_fn", None)
    owner, name = getattr(predict, "__self__", None), getattr(predict, "__name__", "")
    impl = getattr(model, "_model_impl", None)
    wrapper = getattr(sys.modules.get(_WRAPPER[0]), _WRAPPER[1], None)
    if owner is None or impl is None:
        raise NoForm("it is not called in a way that is known")
    if wrapper is not None and type(impl) is wrapper:
        code = getattr(wrapper.predict, "__code__", None)
        if owner is impl:
            if name != "predict" or "predict" in vars(impl) or getattr(code, "co_filename", "") != _file(wrapper):
                raise NoForm("what MLflow calls was replaced")
            return impl.sklearn_model, "predict"
        if owner is impl.sklearn_model and name in METHODS:
            return owner, name
    elif owner is impl and name in METHODS:  # MLflow before its wrapper
        return owner, name
    raise NoForm("its code is its own: only what MLflow's flavor for scikit-learn loads is looked at")


def _steps(estimator: Any, method: str, library: Any) -> tuple[list[Any], Any]:
    """(transformers, the last step) of a pipeline, or of a plain estimator."""
    pipeline = getattr(sys.modules.get("sklearn.pipeline"), "Pipeline", None)
    if pipeline is None or type(estimator) is not pipeline:
        return [], estimator
    if not all(_is_own(pipeline, name, library) for name in METHODS) or set(METHODS) & set(vars(estimator)):
        raise NoForm("a method of Pipeline was replaced")
    if getattr(estimator, "transform_input", None):
        raise NoForm("its pipeline transforms more than its input")
    *before, (_, last) = estimator.steps
    steps = [step for _, step in before if step is not None and step != "passthrough"]
    for step in steps:
        cls = type(step)
        if cls.__name__ not in _TRANSFORMERS or not _is_own(cls, "transform", library) or "transform" in vars(step):
            raise NoForm(f"a step of its pipeline is {cls.__name__}, which is not known to leave its input alone")
        if getattr(step, "copy", True) is not True:
            raise NoForm(f"a step of its pipeline, {cls.__name__}, changes its input")
    if method not in dir(last):
        raise NoForm(f"its last step has no {method}")
    return steps, last


def _is_own(cls: Any, name: str, library: Any) -> bool:
    """Whether `cls` is a class of the library as it was imported, and its method that of the library's files."""
    module = sys.modules.get(cls.__module__)
    if not cls.__module__.startswith("sklearn.") or getattr(module, cls.__name__, None) is not cls:
        return False
    function = getattr(cls, name, None)
    while function is not None:
        code = getattr(function, "__code__", None)
        if code is None or not code.co_filename.startswith(os.path.dirname(library.__file__) + os.sep):
            return False
        if getattr(function, "__name__", "") != name:
            return False
        function = getattr(function, "__wrapped__", None)
    return hasattr(cls, name)


def _file(cls: Any) -> str:
    return str(getattr(sys.modules.get(cls.__module__), "__file__", ""))
