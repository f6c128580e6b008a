"""Run inside a model's environment: train, save, and write down what the model answers there.

python train.py DIRECTORY REQUIREMENT...      Python 3.9 and nothing but what that environment holds
"""

import json
import logging
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

import mlflow.pyfunc  # noqa: E402
import mlflow.sklearn  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.linear_model import Ridge  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import PolynomialFeatures, StandardScaler  # noqa: E402

ROWS = [[0.1, -1.5, 3.0], [2.25, 0.0, -0.75], [1e-9, 12.5, 0.3333333333333333]]


def main(directory: Path, requirements: "list[str]") -> None:
    data = np.random.RandomState(7).normal(size=(200, 3))
    target = data @ np.array([1.0, -2.0, 0.5]) + np.sin(data[:, 0])
    model = make_pipeline(StandardScaler(), PolynomialFeatures(3), Ridge(0.1)).fit(data, target)
    mlflow.sklearn.save_model(model, str(directory / "model"), pip_requirements=requirements)
    loaded = mlflow.pyfunc.load_model(str(directory / "model"))
    answer = [float(value) for value in loaded.predict(pd.DataFrame(ROWS))]
    (directory / "answer.json").write_text(json.dumps({"rows": ROWS, "predictions": answer}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
