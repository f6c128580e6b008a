"""Registers `pair`: two versions of `mood.py` and a third with the content of the first, in any registry.

python build_pair.py TRACKING_URI
"""

import logging
import os
import sys
import warnings
from pathlib import Path

os.environ["MLFLOW_DISABLE_AGENT_HINT"] = "true"
warnings.filterwarnings("ignore")

import mlflow  # noqa: E402
from mlflow import MlflowClient  # noqa: E402

MOOD = Path(__file__).with_name("mood.py")


def main(uri: str) -> None:
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("pair")
    for labels in (["pos", "neg"], ["good", "bad"]):
        with mlflow.start_run():
            mlflow.pyfunc.log_model(
                python_model=str(MOOD),
                name="model",
                model_config={"labels": labels},
                registered_model_name="pair",
                pip_requirements=["mlflow"],
            )
    mlflow.register_model(MlflowClient().get_model_version("pair", "1").source, "pair")


if __name__ == "__main__":
    main(sys.argv[1])
