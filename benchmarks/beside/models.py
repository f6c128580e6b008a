"""The models that are served: the news topic model from the demo's registry, and two small ones that are made here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_MAKE = """
import sys, time
from pathlib import Path
import mlflow, pandas as pd
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
import logging; logging.getLogger("mlflow").setLevel(logging.ERROR)
out = Path(sys.argv[1])
columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
data, target = load_iris(return_X_y=True)
frame = pd.DataFrame(data, columns=columns)
model = LogisticRegression(max_iter=1000).fit(frame, target)
if not (out / "iris" / "MLmodel").exists():
    mlflow.sklearn.save_model(model, out / "iris", signature=infer_signature(frame, model.predict(frame)),
                              pip_requirements=["mlflow", "scikit-learn"], serialization_format="cloudpickle")
class Slow(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        import time
        time.sleep(0.02)
        return ["slow"] * len(model_input)
if not (out / "slow" / "MLmodel").exists():
    mlflow.pyfunc.save_model(out / "slow", python_model=Slow(), pip_requirements=["mlflow"],
                             signature=infer_signature(pd.DataFrame({"text": ["a"]}), ["slow"]))
"""
_FIND = """
import sys, mlflow
from mlflow import MlflowClient
mlflow.set_tracking_uri(sys.argv[1]); mlflow.set_registry_uri(sys.argv[1])
version = MlflowClient().get_model_version_by_alias("classification", "production")
print(mlflow.artifacts.download_artifacts(f"models:/classification/{version.version}", dst_path=sys.argv[2]))
"""


def prepare(state: Path, wanted: set[str]) -> dict[str, Path]:
    """Return the directory of each model in `wanted`, made where it is not there; raises CalledProcessError."""
    out = state / "bench" / "models"
    out.mkdir(parents=True, exist_ok=True)
    found = {name: out / name for name in wanted}
    if "topic" in wanted and not (out / "topic" / "MLmodel").exists():
        _run("-m", "news.train", "--state-dir", str(state))
        (out / "topic").mkdir(exist_ok=True)
        _run("-c", _FIND, f"sqlite:///{(state / 'mlflow.db').absolute()}", str(out / "topic"))
        # Depending on its version MLflow puts the model into the directory or below it.
        inner = next(iter(sorted((out / "topic").rglob("MLmodel")))).parent
        if inner != out / "topic":
            inner.rename(out / "topic.found")
            subprocess.run(["rm", "-rf", str(out / "topic")], check=True)  # noqa: S607 - of a directory made here
            (out / "topic.found").rename(out / "topic")
    if any(name in wanted and not (out / name / "MLmodel").exists() for name in ("iris", "slow")):
        _run("-c", _MAKE, str(out))
    return found


def expected(path: Path, payloads: list[object]) -> list[object]:
    """What the model itself says to each payload, asked in a process of its own."""
    code = """
import json, sys, mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1], suppress_warnings=True)
for payload in json.load(sys.stdin):
    split = payload.get("dataframe_split")
    data = split["data"] if split else [[text] for text in payload["inputs"]]
    frame = pd.DataFrame(data, columns=split["columns"] if split else ["text"])
    raw = model.predict(frame)
    print(json.dumps(raw.tolist() if hasattr(raw, "tolist") else list(raw)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        input=json.dumps(payloads), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def _run(*arguments: str) -> None:
    environ = {"PYTHONPATH": str(ROOT / "examples"), "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home())}
    subprocess.run([sys.executable, *arguments], check=True, env=environ)
