"""Makes the registry of the client's tests: echoing models with several signatures, and two small news models.

python build_registry.py DIRECTORY
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
from mlflow.models import ModelSignature  # noqa: E402
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema  # noqa: E402

HERE = Path(__file__).parent
TABLE = Schema(
    [
        ColSpec("double", "x"),
        ColSpec("long", "n"),
        ColSpec("string", "s"),
        ColSpec("boolean", "b", required=False),
        ColSpec("datetime", "t", required=False),
        ColSpec("binary", "raw", required=False),
    ]
)
SIGNATURES = {
    "echo": None,
    "table": ModelSignature(TABLE, TABLE),
    "text": ModelSignature(Schema([ColSpec("string", "text")]), params=ParamSchema([ParamSpec("times", "long", 1)])),
}
NEWS = {
    "classification": {
        "technology": "software computer chip internet breaking technology release",
        "sports": "team match final goal championship player",
        "politics": "parliament election vote government law minister",
    },
    "sentiment": {
        "positive": "wonderful great good happy success win",
        "negative": "terrible awful bad sad disaster crash",
    },
}


def main(directory: Path) -> None:
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(f"sqlite:///{directory / 'mlflow.db'}")
    mlflow.create_experiment("tests", artifact_location=(directory / "artifacts").as_uri())
    mlflow.set_experiment("tests")
    client = MlflowClient()
    for name, signature in SIGNATURES.items():
        with mlflow.start_run():
            mlflow.pyfunc.log_model(
                python_model=str(HERE / "echo.py"),
                name="model",
                registered_model_name=name,
                signature=signature,
                pip_requirements=["mlflow"],
            )
        client.set_registered_model_alias(name, "production", "1")
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            python_model=str(HERE / "typed.py"),
            name="model",
            registered_model_name="typed",
            pip_requirements=["mlflow", "numpy==1.20.0", "no-such-package==1"],  # not what it is served with
        )
    client.set_registered_model_alias("typed", "production", "1")
    for name, words in NEWS.items():
        with mlflow.start_run():
            for model in ("model", "second") if name == "sentiment" else ("model",):  # a version to swap to
                mlflow.pyfunc.log_model(
                    python_model=str(HERE / "news.py"),
                    name=model,
                    model_config={"words": words},
                    registered_model_name=name,
                    pip_requirements=["scikit-learn"],
                )
        client.set_registered_model_alias(name, "production", "1")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
