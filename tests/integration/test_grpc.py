"""gRPC against a real server, asked by grpcio: predictions, what is told of models, refusals, streams, and the end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from headrace.gateway.grpc import schema
from tests.authority import Authority
from tests.grpc_rig.client import Caller, message, packed, raw, refusal, texts
from tests.integration.serving import Serving, ask, serving, until
from tests.integration.test_access import run
from tests.ports import free_port

HAPPY = ["good great happy", "bad awful sad"]
MODELS = ("echo", "text")
MOST_BYTES = 1_000_000


def document(registry: str, port: int) -> dict[str, Any]:
    return {
        "registry": {"tracking_uri": registry, "poll_s": 3600},
        "admin": {"port": 0},
        "gateway": {"grpc_port": port, "max_body_bytes": MOST_BYTES},
        "models": {name: {"port": 0, "uri": f"models:/{name}@production", "environment": "local"} for name in MODELS},
    }


@pytest.fixture(scope="module")
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("grpc")


@pytest.fixture(scope="module")
def one(client_registry: str, address: str, directory: Path) -> Iterator[Serving]:
    made = document(client_registry, int(address.rpartition(":")[2]))
    with serving(directory, made) as started:
        for name in MODELS:
            started.url(name)
        yield started


@pytest.fixture
def caller(one: Serving, address: str) -> Iterator[Caller]:
    assert one.process.poll() is None
    with Caller(address) as made:
        yield made


def test_a_model_answers_as_it_answers_invocations(one: Serving, caller: Caller) -> None:
    wanted = ask(f"{one.url('text')}/invocations", {"dataframe_split": {"columns": ["text"], "data": [["a"], ["é"]]}})
    (told,) = [list(row.values()) for row in [wanted.json["predictions"][0]]]
    assert told == ["a"]
    for version in ("", "1"):
        typed = caller.infer(texts("text", "a", "é", id="7", model_version=version))
        assert (typed.model_name, typed.model_version, typed.id) == ("text", "1", "7")
        assert [one.decode() for one in typed.outputs[0].contents.bytes_contents] == ["a", "é"]
        assert not typed.raw_output_contents
        in_binary = caller.infer(raw("text", "a", "é", model_version=version))
        assert list(in_binary.raw_output_contents) == [packed("a", "é")]
        assert not in_binary.outputs[0].HasField("contents")


def test_numbers_of_every_datatype_come_back_unchanged(caller: Caller) -> None:
    fields = {
        "bool": ("BOOL", [True, False]),
        "int": ("INT8", [-128, 127]),
        "int64": ("INT64", [-(2**63), 2**63 - 1]),
        "uint": ("UINT32", [0, 2**32 - 1]),
        "uint64": ("UINT64", [0, 2**64 - 1]),
        "fp32": ("FP32", [0.5, float("inf")]),
        "fp64": ("FP64", [0.1, -1e300]),
    }
    for field, (datatype, values) in fields.items():
        request = message("ModelInferRequest", model_name="echo")
        tensor = request.inputs.add(name="x", datatype=datatype, shape=[2])
        getattr(tensor.contents, f"{field}_contents").extend(values)
        output = caller.infer(request).outputs[0]
        assert (output.datatype, list(getattr(output.contents, f"{field}_contents"))) == (datatype, values)


def test_params_outputs_and_compression_are_understood(caller: Caller) -> None:
    request = texts("text", "a")
    request.parameters["times"].int64_param = 2
    assert caller.infer(request).outputs[0].datatype == "BYTES"
    request = texts("text", "a" * 5000)
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        assert len(caller.infer(request, compression=compression).outputs) == 1
    request.outputs.add(name="nothing")
    assert refusal(lambda: caller.infer(request))[0] == "INVALID_ARGUMENT"


def test_large_messages_pass_and_too_large_ones_are_refused(caller: Caller) -> None:
    large = "x" * (MOST_BYTES - 10_000)
    answer = caller.infer(raw("echo", large))
    assert answer.raw_output_contents[0] == packed(large)
    code, says = refusal(lambda: caller.infer(raw("echo", large * 3)))
    assert (code, "exceeds 1000000 bytes" in says) == ("RESOURCE_EXHAUSTED", True)
    assert caller.infer(texts("echo", "a")).outputs


def test_what_is_told_of_the_server_and_of_models(caller: Caller) -> None:
    assert caller.call("ServerLive").live
    assert caller.call("ServerReady").ready
    assert caller.call("ModelReady", name="text").ready
    assert caller.call("ServerMetadata").name == "headrace"
    told = caller.call("ModelMetadata", name="text")
    assert (told.name, list(told.versions), told.platform) == ("text", ["1"], "mlflow")
    assert [(one.name, one.datatype, list(one.shape)) for one in told.inputs] == [("text", "BYTES", [-1, 1])]
    assert {one.name for one in caller.call("RepositoryIndex").models} == set(MODELS)
    assert refusal(lambda: caller.call("RepositoryModelLoad", model_name="text"))[0] == "INVALID_ARGUMENT"
    assert refusal(lambda: caller.call("ModelMetadata", name="none"))[0] == "NOT_FOUND"
    assert refusal(lambda: caller.call("ModelReady", name="none"))[0] == "NOT_FOUND"


def test_health_is_told(caller: Caller) -> None:
    check, asked = caller.unary("Check", schema.HEALTH, ""), schema.kind("grpc.health.v1.HealthCheckRequest")
    told = schema.kind("grpc.health.v1.HealthCheckResponse").FromString
    for service in ("", schema.INFERENCE, "text"):
        assert told(check(asked(service=service))).status == 1
    assert refusal(lambda: check(asked(service="none")))[0] == "NOT_FOUND"
    assert (
        refusal(lambda: caller.unary("Nothing", schema.INFERENCE, "")(message("ServerLiveRequest")))[0]
        == "UNIMPLEMENTED"
    )


def test_reflection_tells_the_services_and_their_messages(caller: Caller) -> None:
    for service in schema.REFLECTION:
        package = service.rpartition(".")[0]
        asked = schema.kind(f"{package}.ServerReflectionRequest")
        told = schema.kind(f"{package}.ServerReflectionResponse")
        call = caller.channel.stream_stream(
            f"/{service}/ServerReflectionInfo",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=told.FromString,
        )
        questions = [
            asked(list_services=""),
            asked(file_containing_symbol=schema.INFERENCE),
            asked(file_by_filename="x"),
        ]
        names, file, error = call(iter(questions), timeout=100)
        assert schema.INFERENCE in {one.name for one in names.list_services_response.service}
        assert b"ModelInferRequest" in file.file_descriptor_response.file_descriptor_proto[0]
        assert error.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_what_is_wrong_is_refused_and_the_channel_goes_on(caller: Caller) -> None:
    cut = raw("text", "good")
    cut.raw_input_contents[0] = cut.raw_input_contents[0][:-1]
    surplus = raw("text", "good")
    surplus.raw_input_contents.append(b"")
    both = texts("text", "good")
    both.raw_input_contents.append(packed("good"))
    shape = texts("text", "good")
    shape.inputs[0].shape[:] = [3]
    unknown = texts("text", "good")
    unknown.inputs[0].datatype = "FP16"
    small = message("ModelInferRequest", model_name="echo")
    small.inputs.add(name="x", datatype="INT8", shape=[1]).contents.int_contents.append(128)
    for request in (cut, surplus, both, shape, unknown, small, message("ModelInferRequest", model_name="text")):
        assert refusal(lambda asked=request: caller.infer(asked))[0] == "INVALID_ARGUMENT"
    assert refusal(lambda: caller.infer(texts("none", "good"))) == (
        "NOT_FOUND",
        "There is no model 'none' here; there are: 'echo', 'text'.",
    )
    assert refusal(lambda: caller.infer(texts("text", "good", model_version="9")))[0] == "NOT_FOUND"
    garbage = caller.channel.unary_unary(f"/{schema.INFERENCE}/ModelInfer")
    assert refusal(lambda: garbage(b"\xff" * 9))[0] == "INVALID_ARGUMENT"
    assert caller.infer(texts("text", "good")).outputs


def test_a_deadline_holds_and_is_the_clients(caller: Caller) -> None:
    assert refusal(lambda: caller.infer(texts("echo", "sleep:3"), timeout=0.5))[0] == "DEADLINE_EXCEEDED"


def test_the_chunks_of_a_stream_come_one_by_one(caller: Caller) -> None:
    requests = [texts("echo", "one two three", id="1"), texts("none", "x"), texts("echo", "raise"), raw("echo", "end")]
    answers = list(caller.stream(iter(requests)))
    said = [one.infer_response.outputs[0] if not one.error_message else one.error_message for one in answers]
    assert [one.contents.bytes_contents[0] for one in said[:3]] == [b"one", b"two", b"three"]
    assert answers[0].infer_response.id == "1"
    assert "no model 'none'" in said[3]
    assert "told to" in said[4]
    assert answers[5].infer_response.raw_output_contents[0] == packed("end")
    assert len(answers) == 6


def test_a_stream_that_is_left_frees_its_worker(caller: Caller) -> None:
    stream = caller.stream(iter([texts("echo", "one sleep:0.1 " * 1000)]))
    next(stream)
    stream.cancel()
    assert caller.infer(texts("echo", "a")).outputs


def test_calls_are_counted_and_logged_as_requests(one: Serving, caller: Caller) -> None:
    caller.infer(texts("text", "good"), metadata=[("x-request-id", "mine")])
    told = ask(f"{one.admin}/metrics").body.decode()
    assert 'headrace_protocol_requests_total{model="text",protocol="grpc"}' in told


def test_who_speaks_http_is_told_so(one: Serving, address: str) -> None:
    assert one.process.poll() is None
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 60) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert plain.recv(1000).startswith(b"HTTP/1.1 400 ")


class Callers:
    """Clients that call again and again until one call of each fails, or `enough` is set; `codes` are all outcomes."""

    def __init__(self, address: str) -> None:
        self.codes: list[str] = []
        self.enough = threading.Event()
        self._address = address
        self._threads = [threading.Thread(target=self._work) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(100)

    def _work(self) -> None:
        with Caller(self._address) as own:
            infer = own.unary("ModelInfer")
            while not self.enough.is_set():
                try:
                    infer(texts("echo", "sleep:0.02"), timeout=100)
                    self.codes.append("OK")
                except grpc.RpcError as error:
                    self.codes.append(f"{error.code().name} {error.details()}")
                    return


def test_no_call_is_lost_when_new_gateways_take_over(one: Serving, address: str, directory: Path) -> None:
    callers = Callers(address)
    until(lambda: len(callers.codes) > 20, "calls")
    file = directory / "headrace.yaml"
    config = yaml.safe_load(file.read_text())
    config["gateway"]["keep_alive_s"] = 50.0
    file.write_text(yaml.safe_dump(config))
    before = one.processes("headrace.gateway")[0].pid
    assert ask(f"{one.admin}/api/reload", method="POST").status == 200
    until(lambda: [process.pid for process in one.processes("headrace.gateway")] not in ([before], []), "others")
    seen = len(callers.codes)
    until(lambda: len(callers.codes) > seen + 20, "calls of the new gateway")
    callers.enough.set()
    callers.join()
    assert set(callers.codes) == {"OK"}


def test_nothing_is_lost_when_headrace_stops(one: Serving, address: str) -> None:
    """The last test with this server."""
    callers = Callers(address)
    until(lambda: len(callers.codes) > 20, "calls")
    assert one.stop() == 0
    callers.join()
    # Calls that were made after the port was closed cannot connect; of the others each has its answer.
    assert not [code for code in callers.codes if code != "OK" and "refused" not in code.lower()]


def test_tls_and_keys_hold_here_too(client_registry: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    made = run("key", "create", "few", "--role", "predict", "--models", "text", "--file", str(tmp_path / "keys.jsonl"))
    key = made.stdout.split()[-1]
    port = free_port()
    config = document(client_registry, port)
    config["tls"] = {"certificate": str(pair.certificate), "key": str(pair.key)}
    config["auth"] = {"keys": str(tmp_path / "keys.jsonl")}
    trusted = grpc.ssl_channel_credentials(authority.file.read_bytes())
    with serving(tmp_path / "headrace", config) as one:
        for name in MODELS:
            one.url(name)
        address = f"localhost:{port}"
        with Caller(address, trusted, token=key) as own:
            assert own.infer(texts("text", "good")).outputs
            assert refusal(lambda: own.infer(texts("echo", "good")))[0] == "PERMISSION_DENIED"
        with Caller(address, trusted) as nobody:
            assert refusal(lambda: nobody.infer(texts("text", "good")))[0] == "UNAUTHENTICATED"
            assert refusal(lambda: nobody.infer(raw("text", "x" * 900_000)))[0] == "UNAUTHENTICATED"
            assert nobody.call("ServerLive").live
        with Caller(address, trusted, token="wrong") as stranger:
            assert refusal(lambda: stranger.infer(texts("text", "good")))[0] == "UNAUTHENTICATED"
