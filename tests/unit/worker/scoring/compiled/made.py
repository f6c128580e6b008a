"""Models of scikit-learn, saved and loaded the way MLflow does it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

WIDTH = 6

KINDS: dict[str, Any] = {
    "forest": lambda: RandomForestClassifier(12, random_state=1),
    "forest in threads": lambda: RandomForestClassifier(12, random_state=1, n_jobs=2),
    "forest of few leaves": lambda: RandomForestClassifier(12, max_leaf_nodes=5, random_state=1),
    "regression forest": lambda: RandomForestRegressor(12, random_state=1),
    "extra trees": lambda: ExtraTreesClassifier(12, random_state=1),
    "extra regression trees": lambda: ExtraTreesRegressor(12, random_state=1),
    "tree": lambda: DecisionTreeClassifier(max_depth=4, random_state=1),
    "regression tree": lambda: DecisionTreeRegressor(max_depth=4, random_state=1),
    "scaled forest": lambda: make_pipeline(StandardScaler(), RandomForestClassifier(12, random_state=1)),
}


def data(rows: int = 300, seed: int = 0) -> tuple[pd.DataFrame, Any]:
    """Numbers with something to learn, and three classes."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(rows, WIDTH)), columns=[f"c{i}" for i in range(WIDTH)])
    return frame, (frame["c0"] > 0).to_numpy().astype(int) + (frame["c1"] * frame["c2"] > 0.2).to_numpy()


def fitted(estimator: Any, *, labels: bool = True, as_array: bool = False) -> Any:
    """An estimator that has learnt `data`; the classes are texts, or numbers."""
    frame, target = data()
    names = np.array(["low", "middle", "high"])
    return estimator.fit(frame.to_numpy() if as_array else frame, names[target] if labels else target)


def loaded(directory: Path, estimator: Any, method: str = "predict") -> Any:
    """The pyfunc model of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = str(directory / "model")
        mlflow.sklearn.save_model(
            estimator, path, pyfunc_predict_fn=method, pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )  # fmt: skip
        return mlflow.pyfunc.load_model(path, suppress_warnings=True)
