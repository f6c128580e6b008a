"""Makes the registry that the integration tests share: a sqlite file and models that are small but real.

python build_registry.py DIRECTORY
"""

import json
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
from mlflow.types import ColSpec, Schema  # noqa: E402

HERE = Path(__file__).parent


def main(directory: Path) -> None:
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(f"sqlite:///{directory / 'mlflow.db'}")
    mlflow.create_experiment("tests", artifact_location=(directory / "artifacts").as_uri())
    mlflow.set_experiment("tests")
    client = MlflowClient()
    for labels in (["pos", "neg"], ["good", "bad"]):
        with mlflow.start_run():
            mlflow.pyfunc.log_model(
                python_model=str(HERE / "mood.py"),
                name="model",
                model_config={"labels": labels},
                registered_model_name="mood",
                pip_requirements=["scikit-learn"],
            )
    client.set_registered_model_alias("mood", "production", "1")
    client.transition_model_version_stage("mood", "1", "Production")
    for name in ("moody", "broken"):
        with mlflow.start_run():
            mlflow.pyfunc.log_model(
                python_model=str(HERE / f"{name}.py"),
                name="model",
                registered_model_name=name,
                pip_requirements=["mlflow"],
            )
        client.set_registered_model_alias(name, "production", "1")
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            python_model=str(HERE / "moody.py"),
            name="model",
            registered_model_name="picky",
            pip_requirements=["mlflow", "numpy==1.0", "no-such-package"],
        )
    _log_shifty()
    versions = client.search_model_versions()
    places = {f"{v.name}/{v.version}": client.get_model_version_download_uri(v.name, v.version) for v in versions}
    (directory / "places.json").write_text(json.dumps(places))


# Version 1 and 2 are good; each of the others fails in its own way.
SHIFTY = {1: "", 2: "", 3: "load", 4: "example", 5: "signature", 6: "answer", 7: "errors", 8: "slow"}


def _log_shifty() -> None:
    for number, fault in SHIFTY.items():
        column = ColSpec("long" if fault == "signature" else "string", "text")
        with mlflow.start_run():
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(HERE / "shifty.py"),
                model_config={"fault": fault, "answer": f"v{number}"},
                signature=ModelSignature(inputs=Schema([column])),
                registered_model_name="shifty",
                pip_requirements=["mlflow"],
            )
        # MLflow would run the example while it logs; the faults are for the server to find.
        folder = Path(mlflow.artifacts.download_artifacts(info.model_uri))
        example = 1 if fault == "signature" else "a text"
        (folder / "serving_input_example.json").write_text(json.dumps({"dataframe_records": [{"text": example}]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
