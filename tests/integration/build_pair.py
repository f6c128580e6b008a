"""Registers `pair`: two trained versions and a third with the content of the first, in any registry.

python build_pair.py TRACKING_URI
"""

import logging
import os
import sys
import warnings

os.environ["MLFLOW_DISABLE_AGENT_HINT"] = "true"
warnings.filterwarnings("ignore")

import mlflow  # noqa: E402
import mlflow.sklearn  # noqa: E402
import pandas as pd  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402

TEXTS = pd.Series(["good great happy", "lovely nice day", "bad awful sad", "terrible nasty"])


def main(uri: str) -> None:
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("pair")
    for labels in (["pos", "pos", "neg", "neg"], ["good", "good", "bad", "bad"]):
        with mlflow.start_run():
            model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=100)).fit(TEXTS, labels)
            mlflow.sklearn.log_model(
                model, name="model", registered_model_name="pair", pip_requirements=["scikit-learn"]
            )
    mlflow.register_model(MlflowClient().get_model_version("pair", "1").source, "pair")


if __name__ == "__main__":
    main(sys.argv[1])
