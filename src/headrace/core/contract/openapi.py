"""The OpenAPI document of one model: every route that it has, what it takes and what it gives. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from headrace.core.contract import dialect, schemas, tensors
from headrace.core.contract.about import About

VERSION = "3.1.0"

_TEXT = {"type": "string"}
_MADE_UP: dict[str, Any] = {"BYTES": "a text", "BOOL": True}
_ENCODED = {"base64": "AAEC", "datetime": "2026-01-31T12:00:00", "pd_json": "[]"}
_ERROR_OBJECT = {
    "type": "object",
    "properties": {"error_code": _TEXT, "message": _TEXT, "request_id": _TEXT, "stack_trace": {}},
    "required": ["error_code", "message"],
}
_PARAMETERS = {"type": "object", "description": "What the model or the protocol is told beside the data."}
_TENSOR = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "datatype": {
            "enum": [
                "BOOL",
                "UINT8",
                "UINT16",
                "UINT32",
                "UINT64",
                "INT8",
                "INT16",
                "INT32",
                "INT64",
                "FP16",
                "FP32",
                "FP64",
                "BYTES",
            ]
        },
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "parameters": _PARAMETERS,
        "data": {"type": "array"},
    },
    "required": ["name", "datatype", "shape"],
}
_COMPONENTS: dict[str, Any] = {
    "Error": _ERROR_OBJECT,
    "ProtocolError": {"type": "object", "properties": {"error": _TEXT}, "required": ["error"]},
    "Tensor": _TENSOR,
    "InferenceRequest": {
        "type": "object",
        "properties": {
            "id": _TEXT,
            "parameters": _PARAMETERS,
            "inputs": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Tensor"}},
            "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        },
        "required": ["inputs"],
    },
    "InferenceResponse": {
        "type": "object",
        "properties": {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "parameters": _PARAMETERS,
            "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
        },
        "required": ["model_name", "outputs"],
    },
}


def document(name: str, label: str, base: str, about: About) -> dict[str, Any]:
    """The document of the model that is called `name`, of the version `label`; its paths are below `base`."""
    metadata = tensors.metadata(name, [label.rpartition("/")[2]], about)
    v2 = f"/v2/models/{quote(name, '')}"
    return {
        "openapi": VERSION,
        "info": {"title": name, "version": label, "description": _described(about)},
        "servers": [{"url": base}],
        "security": [{}, {"key": []}],
        "tags": [
            {"name": "MLflow", "description": "The protocol of mlflow models serve."},
            {"name": "V2", "description": "The Open Inference Protocol, as MLServer, Triton and KServe speak it."},
            {"name": "V1", "description": "KServe's first protocol."},
            {"name": "OpenAI", "description": "The dialect of OpenAI's clients, for models that speak it."},
        ],
        "paths": {
            "/invocations": {"post": _invoke("invoke", "MLflow", "Predict", about, "Error")},
            "/ping": {"get": _probe("ping", "MLflow", "Whether the model can answer", "Error")},
            "/version": {"get": _version()},
            v2: {"get": _get("metadata", "V2", "What tensors the model takes and gives", {"const": name})},
            f"{v2}/ready": {"get": _probe("ready", "V2", "Whether the model can answer", "ProtocolError")},
            f"{v2}/infer": {"post": _infer(metadata)},
            f"/v1/models/{quote(name, '')}": {
                "get": _probe("status", "V1", "Whether the model can answer", "ProtocolError")
            },
            f"/v1/models/{quote(name, '')}:predict": {
                "post": _invoke("predict", "V1", "Predict", about, "ProtocolError")
            },
            **dialect.paths(name, about.speaks, _errors(dialect.ERROR) if about.speaks else {}),
        },
        "components": {
            "schemas": {**_COMPONENTS, **dialect.components(about.speaks), "Request": schemas.request(about)},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Where keys are asked for."}
            },
        },
    }


def _described(about: About) -> str:
    if not about.whole:
        return "The signature is too large to be told here."
    if not about.inputs:
        return "The model was logged without a signature: what it takes is not known."
    return "What the model takes is what its signature says."


def _invoke(operation: str, tag: str, summary: str, about: About, error: str) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Request"}}
    if (example := schemas.example(about)) is not None:
        content["example"] = example
    kinds: dict[str, Any] = {"application/json": content}
    if tag == "MLflow":
        kinds["text/csv"] = {"schema": _TEXT}
    given = {"schema": {"type": "object"}} if about.type_hint or not about.inputs else {"schema": _predictions()}
    gives: dict[str, Any] = {"application/json": given}
    if tag == "MLflow" and about.streams:
        gives["text/event-stream"] = {"schema": _TEXT}
    answers = {"200": {"description": "The predictions.", "content": gives}}
    return {
        "operationId": operation,
        "tags": [tag],
        "summary": summary,
        "requestBody": {"required": True, "content": kinds},
        "responses": {**answers, **_errors(error)},
    }


def _predictions() -> dict[str, Any]:
    return {"type": "object", "properties": {"predictions": {}}, "required": ["predictions"]}


def _infer(metadata: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/InferenceRequest"}}
    if metadata["inputs"]:
        content["example"] = {"inputs": [_example(tensor) for tensor in metadata["inputs"]]}
    response = {"schema": {"$ref": "#/components/schemas/InferenceResponse"}}
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "operationId": "infer",
        "tags": ["V2"],
        "summary": "Predict",
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "200": {
                "description": "The outputs.",
                "content": {"application/json": response, "application/octet-stream": binary},
            },
            **_errors("ProtocolError"),
        },
    }


def _example(tensor: dict[str, Any]) -> dict[str, Any]:
    datatype, content_type = tensor["datatype"], tensor["parameters"]["content_type"]
    shape = [min(size, 64) if size >= 0 else 1 for size in tensor["shape"]]
    count = 1
    for size in shape:
        count *= size
    value = _ENCODED.get(content_type, _MADE_UP.get(datatype, 0.5 if datatype.startswith("FP") else 1))
    return {"name": tensor["name"], "datatype": datatype, "shape": shape, "data": [value] * min(count, 4096)}


def _get(operation: str, tag: str, summary: str, name: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"name": name}, "required": ["name", "inputs", "outputs"]}
    ok = {"description": "What is asked for.", "content": {"application/json": {"schema": schema}}}
    return {
        "operationId": operation,
        "tags": [tag],
        "summary": summary,
        "responses": {"200": ok, **_errors("ProtocolError")},
    }


def _probe(operation: str, tag: str, summary: str, error: str) -> dict[str, Any]:
    return {
        "operationId": operation,
        "tags": [tag],
        "summary": summary,
        "responses": {"200": {"description": "It can."}, **_errors(error)},
    }


def _version() -> dict[str, Any]:
    ok = {"description": "MLflow's version in the model's environment.", "content": {"application/json": {}}}
    return {
        "operationId": "version",
        "tags": ["MLflow"],
        "summary": "The version of MLflow",
        "responses": {"200": ok, **_errors("Error")},
    }


def _errors(schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    told = {
        "400": "The request is none that the model takes.", "401": "A key is needed.", "403": "The key is for others.",
        "404": "There is none of this name.", "413": "The body is too large.", "429": "Too many at a time.",
        "500": "The model failed.", "503": "The model cannot answer now.", "504": "It took too long.",
    }  # fmt: skip
    found = {status: {"description": text, "content": content} for status, text in told.items()}
    plain = {"text/plain": {"schema": _TEXT}, **content}
    return {**found, "415": {"description": "The body's type is none that is taken.", "content": plain}}
