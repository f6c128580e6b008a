"""Asks a server as Triton's own gRPC clients do: python triton_grpc.py HOST:PORT. Ends with 0 where all is right."""

import asyncio
import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton  # type: ignore[import-not-found]
import tritonclient.grpc.aio as triton_aio  # type: ignore[import-not-found]
from tritonclient.utils import InferenceServerException  # type: ignore[import-not-found]

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def tensor(name: str, values: Any, datatype: str) -> Any:
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


def blocking(address: str) -> None:
    client = triton.InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("sum")
    assert client.get_server_metadata().name == "headrace"
    assert client.get_model_metadata("sum").inputs[0].datatype == "FP32"
    assert {one.state for one in client.get_model_repository_index().models} == {"READY"}
    for wanted in (None, [triton.InferRequestedOutput("output-1")]):
        for coding in (None, "gzip", "deflate"):
            asked = [tensor("x", ROWS, "FP32")]
            found = client.infer("sum", asked, outputs=wanted, request_id="7", compression_algorithm=coding)
            assert found.get_response().id == "7"
            assert found.as_numpy("output-1").tolist() == [[3.0], [12.0]]
    numbers = np.array([1.5, np.nan])
    found = client.infer("table", [tensor("d", numbers, "FP64")]).as_numpy("d").ravel()
    assert np.array_equal(found, numbers, equal_nan=True)
    for model, wrong, status in (("none", ROWS, "NOT_FOUND"), ("sum", ROWS[:, :2], "INVALID_ARGUMENT")):
        try:
            client.infer(model, [tensor("x", wrong, "FP32")])
        except InferenceServerException as error:
            told = error.status()
        else:
            told = "none"
        assert status in told, (model, told)
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put(error if error is not None else result))
    for model in ("sum", "none", "sum"):
        client.async_stream_infer(model, [tensor("x", ROWS, "FP32")], request_id=model)
    found = [answers.get(timeout=60) for _ in range(3)]
    client.stop_stream()
    assert [isinstance(one, InferenceServerException) for one in found] == [False, True, False]
    assert found[2].as_numpy("output-1").tolist() == [[3.0], [12.0]]
    client.close()


async def asynchronous(address: str) -> None:
    async with triton_aio.InferenceServerClient(address) as client:
        assert await client.is_server_ready()
        asked = [client.infer("sum", [tensor("x", ROWS + n, "FP32")]) for n in range(32)]
        found = [one.as_numpy("output-1")[0, 0] for one in await asyncio.gather(*asked)]
        assert found == [3.0 + 3 * n for n in range(32)]


if __name__ == "__main__":
    blocking(sys.argv[1])
    asyncio.run(asynchronous(sys.argv[1]))
