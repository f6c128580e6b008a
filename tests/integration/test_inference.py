"""The Open Inference Protocol and KServe's V1 against a real server, on a model's own port and on the shared one."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.integration.serving import JSON, Answer, Serving, ask, serving
from tests.integration.test_serve import HAPPY, config
from tests.ports import free_port
from tests.registries import place

TENSOR = {"name": "text", "shape": [2, 1], "datatype": "BYTES", "data": ["good great happy", "bad awful sad"]}
REQUEST = {"id": "7", "inputs": [TENSOR]}


@pytest.fixture(scope="module")
def shared() -> str:
    """The shared port."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def one(registry: str, shared: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    mood, shifty = {"uri": "models:/mood@production", "cache": {}}, {"uri": "models:/shifty/1"}
    document = config(registry, mood=mood, shifty=shifty)
    document["gateway"] = {"port": urlsplit(shared).port}
    with serving(tmp_path_factory.mktemp("inference"), document) as started:
        for name in ("mood", "shifty"):
            started.url(name)
        yield started


@pytest.fixture
def bases(one: Serving, shared: str) -> list[str]:
    """What ``/v2`` is below: the model's own port, the shared one, and the model's place there."""
    return [one.url("mood"), shared, f"{shared}/models/mood"]


def raw(url: str, body: bytes, headers: dict[str, str]) -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request("POST", parts.path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def test_a_model_answers_tensors_as_it_answers_invocations(one: Serving, bases: list[str]) -> None:
    (wanted,) = ask(f"{one.url('mood')}/invocations", HAPPY).json["predictions"]
    for base in bases:
        for path in ("/v2/models/mood/infer", "/v2/models/mood/versions/1/infer"):
            answer = ask(base + path, REQUEST)
            assert (answer.status, answer.headers["headrace-model"]) == (200, "mood/1")
            told = answer.json
            assert (told["model_name"], told["model_version"], told["id"]) == ("mood", "1", "7")
            assert told["outputs"][0]["data"] == [wanted, "neg"]


def test_binary_tensors_go_both_ways(one: Serving) -> None:
    packed = b"\x10\0\0\0good great happy"
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(packed)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    answer = raw(f"{one.url('mood')}/v2/models/mood/infer", head + packed, length)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
    assert answer.body[int(answer.headers["inference-header-content-length"]) :] == b"\3\0\0\0pos"
    cut = raw(f"{one.url('mood')}/v2/models/mood/infer", head + packed[:-1], length)
    assert cut.status == 400
    assert "only 19 are left" in cut.json["error"]
    odd = raw(f"{one.url('mood')}/v2/models/mood/infer", head, {"Inference-Header-Content-Length": "x"})
    assert (odd.status, list(odd.json)) == (400, ["error"])


def test_the_server_and_its_models_are_described(one: Serving, bases: list[str], shared: str) -> None:
    for base in bases:
        assert ask(f"{base}/v2").json["name"] == "headrace"
        assert ask(f"{base}/v2/health/live").json == {"live": True}
        assert ask(f"{base}/v2/health/ready").json == {"ready": True}
        assert ask(f"{base}/v2/models/mood/ready").json == {"name": "mood", "ready": True}
        told = ask(f"{base}/v2/models/mood").json
        assert (told["name"], told["versions"], told["platform"]) == ("mood", ["1"], "mlflow")
    (text,) = ask(f"{shared}/v2/models/shifty").json["inputs"]
    assert text == {"name": "text", "datatype": "BYTES", "shape": [-1, 1], "parameters": {"content_type": "str"}}
    assert ask(f"{shared}/v2/models").json == {"models": ["mood", "shifty"]}
    assert ask(f"{one.url('mood')}/v2/models").json == {"models": ["mood"]}
    index = ask(f"{shared}/v2/repository/index", {"ready": True}).json
    assert {(entry["name"], entry["version"], entry["state"]) for entry in index} == {
        ("mood", "1", "READY"),
        ("shifty", "1", "READY"),
    }
    assert ask(f"{shared}/v2/repository/index", method="POST", headers=JSON).json == index
    refused = ask(f"{shared}/v2/repository/models/mood/unload", {})
    assert refused.status == 400
    assert "headrace promote" in refused.json["error"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v2/models/mood/infer", {}, 400),
        ("/v2/models/mood/infer", {"inputs": [{**TENSOR, "shape": [3]}]}, 400),
        ("/v2/models/mood/infer", {"inputs": [{**TENSOR, "datatype": "TEXT"}]}, 400),
        ("/v2/models/mood/infer", {"inputs": [TENSOR], "outputs": [{"name": "other"}]}, 400),
        ("/v2/models/mood/versions/9/infer", REQUEST, 404),
        ("/v2/models/mood/versions/9", None, 404),
        ("/v2/models/other/infer", REQUEST, 404),
        ("/v2/models/other", None, 404),
        ("/v2/models/other/ready", None, 404),
        ("/v2/models/mood/infer", None, 405),
        ("/v2/nothing", None, 404),
        ("/v2/repository/index", [], 400),
        ("/v1/models/mood:predict", {"odd": 1}, 400),
        ("/v1/models/other:predict", HAPPY, 404),
        ("/v1/models/other", None, 404),
    ],
)
def test_errors_have_the_protocols_form(bases: list[str], path: str, body: Any, status: int) -> None:
    for base in bases:
        answer = ask(base + path, body)
        assert (answer.status, list(answer.json)) == (status, ["error"]), (base, answer)


def test_a_body_that_is_too_large_is_refused_in_the_protocols_form(bases: list[str]) -> None:
    for base in bases:
        answer = raw(f"{base}/v2/models/mood/infer", b"", {"Content-Length": str(2**40)})
        assert (answer.status, list(answer.json)) == (413, ["error"])


def test_v1_is_spoken(bases: list[str], shared: str) -> None:
    for base in bases:
        assert ask(f"{base}/v1/models/mood:predict", HAPPY).json == {"predictions": ["pos"]}
        told = ask(f"{base}/v1/models/mood").json
        assert (told["name"], told["ready"], told["id"], told["object"]) == ("mood", True, "mood", "model")
    assert ask(f"{shared}/v1/models").json["models"] == ["mood", "shifty"]


def test_what_is_spoken_is_counted_and_kept_like_any_request(one: Serving, shared: str) -> None:
    answers = [ask(f"{shared}/v2/models/mood/infer", {**REQUEST, "id": "kept"}) for _ in range(2)]
    assert [answer.headers["headrace-cache"] for answer in answers] == ["miss", "hit"]
    assert answers[0].body == answers[1].body
    numbers = ask(f"{one.admin}/metrics").body.decode()
    for protocol in ("v1", "v2"):
        assert f'headrace_protocol_requests_total{{model="mood",protocol="{protocol}"}}' in numbers
    own = ask(f"{one.url('mood')}/invocations", {"instances": ["good"]})
    assert own.json == {"predictions": ["pos"]}


def test_every_route_of_the_openapi_document_answers_as_it_says(one: Serving, shared: str) -> None:
    for where, base in ((one.url("shifty"), ""), (f"{shared}/models/shifty", "/models/shifty")):
        document = ask(f"{where}/openapi.json").json
        assert document["servers"] == [{"url": base or "/"}]
        assert (document["info"]["title"], document["info"]["version"]) == ("shifty", "shifty/1")
        for path, methods in document["paths"].items():
            for method, told in methods.items():
                content = told.get("requestBody", {"content": {}})["content"].get("application/json", {})
                answer = ask(where + path, content.get("example"), method=method.upper())
                assert answer.status == 200, (method, path, answer)
                kinds = told["responses"]["200"].get("content", {answer.headers["content-type"]: None})
                assert answer.headers["content-type"] in kinds
    assert ask(f"{shared}/models/other/openapi.json").status == 404


def test_the_docs_page_needs_nothing_from_elsewhere(one: Serving, shared: str) -> None:
    page = ask(f"{one.url('shifty')}/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert b"://" not in page.body
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert ask(f"{shared}/models/shifty/docs").body == page.body


def test_the_docs_page_lets_one_try_the_model(one: Serving, browser: Browser) -> None:
    page = browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto(f"{one.url('shifty')}/docs")
    expect(page.locator("h1")).to_have_text("shiftyshifty/1")
    for operation in ("invoke", "infer"):
        entry = page.locator(f"#{operation}")
        entry.evaluate("one => { one.open = true }")
        entry.get_by_role("button", name="Send").click()
        expect(entry.locator("pre")).to_contain_text("200 OK")
    assert wrong == []
    page.close()


def test_mlservers_variables_serve_a_model_where_kserve_puts_it(registry: str, tmp_path: Path) -> None:
    shutil.copytree(place(registry, "shifty/1"), tmp_path / "mnt" / "models")
    environ = {"MLSERVER_MODEL_URI": str(tmp_path / "mnt" / "models"), "MLSERVER_MODEL_NAME": "iris"}
    environ |= {"MLSERVER_HTTP_PORT": "0", "MLSERVER_HOST": "127.0.0.1"}
    with serving(tmp_path, None, "--env-manager", "local", "--admin-port", "0", environ=environ) as one:
        url = one.url("iris")
        assert ask(f"{url}/v2/health/ready").json == {"ready": True}
        told = ask(f"{url}/v2/models/iris").json
        tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
        answer = ask(f"{url}/v2/models/iris/infer", {"inputs": [tensor]})
        assert (answer.status, answer.json["model_name"]) == (200, "iris")
        assert told["versions"] == [answer.json["model_version"]] == ["models"]
        assert one.stop() == 0
