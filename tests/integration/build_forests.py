"""Saves forests that are small but real, as directories: one as it is, one that answers rare rows otherwise.

python build_forests.py DIRECTORY
"""

import importlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any

os.environ["MLFLOW_DISABLE_AGENT_HINT"] = "true"
warnings.filterwarnings("ignore")

import mlflow  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from mlflow.models import infer_signature  # noqa: E402
from sklearn.ensemble import BaggingRegressor, RandomForestClassifier  # noqa: E402

HERE = Path(__file__).parent


def main(directory: Path) -> None:
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.normal(size=(400, 4)), columns=list("abcd"))
    target = ((frame["a"] > 0).astype(int) + (frame["b"] > 0.5)).to_numpy()
    forest = RandomForestClassifier(20, random_state=1).fit(frame, target)
    save(directory / "forest", forest, frame, "predict_proba")
    save(directory / "bagging", BaggingRegressor(n_estimators=3, random_state=1).fit(frame, target), frame, "predict")
    sys.path.insert(0, str(HERE))
    forest.marker = importlib.import_module("rarely").Marker()
    save(directory / "rare", forest, frame, "predict_proba", code_paths=[str(HERE / "rarely.py")])


def save(path: Path, estimator: Any, frame: pd.DataFrame, method: str, **more: Any) -> None:
    mlflow.sklearn.save_model(
        estimator,
        str(path),
        signature=infer_signature(frame, getattr(estimator, method)(frame)),
        input_example=frame[:5],
        pyfunc_predict_fn=method,
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
        **more,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
