"""Asks a server as Triton's own client does: python triton.py HOST:PORT. Ends with 0 where every answer is right."""

import itertools
import sys
from typing import Any

import numpy as np
import tritonclient.http as triton  # type: ignore[import-not-found]
from tritonclient.utils import InferenceServerException  # type: ignore[import-not-found]


def tensor(name: str, values: Any, datatype: str, *, binary: bool = True) -> Any:
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def main(address: str) -> None:
    client = triton.InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("sum")
    assert client.get_server_metadata()["name"] == "headrace"
    assert client.get_model_metadata("sum")["inputs"][0]["datatype"] == "FP32"
    assert {one["state"] for one in client.get_model_repository_index()} == {"READY"}
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    for sent, wanted, coding in itertools.product((True, False), (None, True, False), (None, "gzip", "deflate")):
        outputs = None if wanted is None else [triton.InferRequestedOutput("output-1", binary_data=wanted)]
        asked = [tensor("x", rows, "FP32", binary=sent)]
        found = client.infer("sum", asked, outputs=outputs, request_id="7", request_compression_algorithm=coding)
        assert found.get_response()["id"] == "7"
        assert found.as_numpy("output-1").tolist() == [[3.0], [12.0]]
    numbers = np.array([1.5, np.nan])
    assert np.array_equal(
        client.infer("table", [tensor("d", numbers, "FP64")]).as_numpy("d").ravel(), numbers, equal_nan=True
    )
    for model, wrong, status in (("none", rows, 404), ("sum", rows[:, :2], 400)):
        try:
            client.infer(model, [tensor("x", wrong, "FP32")])
        except InferenceServerException as error:
            told = error.status()
        else:
            told = "none"
        assert str(status) in told, (model, told)


if __name__ == "__main__":
    main(sys.argv[1])
