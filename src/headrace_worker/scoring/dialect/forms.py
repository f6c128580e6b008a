"""What of OpenAI's dialect a model speaks, and in which form it wants to be asked.

That is read from what MLflow says of it: its kind of agent, its flavor and task, or the names in its signature.
"""

from __future__ import annotations

from typing import Any, NamedTuple

CHAT, RESPONSES, EMBEDDINGS, COMPLETIONS = "chat", "responses", "embeddings", "completions"

PATHS = {
    CHAT: "/v1/chat/completions",
    RESPONSES: "/v1/responses",
    EMBEDDINGS: "/v1/embeddings",
    COMPLETIONS: "/v1/completions",
}

WHOLE = "whole"
"""The model takes the members of the request as they are: ``{"messages": [...], "temperature": 0}``."""

LISTED = "listed"
"""It has a type hint that is a list of such requests."""

MESSAGES = "messages"
"""It has a type hint that is a list of messages."""

TEXTS = "texts"
"""It takes texts: one a row."""

_CHAT_TASKS = frozenset(("agent/v1/chat", "agent/v2/chat", "llm/v1/chat"))
_GENERATES = frozenset(("text-generation", "text2text-generation"))


class Form(NamedTuple):
    """How one kind of request is put to a model.

    `speaks` is the kind of request that a model which takes it whole understands. `specs` are the columns of the
    signature by name, as MLflow writes them, None where it says nothing; `params` the names of its params.
    """

    shape: str
    speaks: str
    specs: dict[str, Any] | None = None
    params: frozenset[str] = frozenset()


def find(model: Any) -> dict[str, Form]:
    """The kinds of request that the loaded model answers, and the form of each."""
    metadata = model.metadata
    flavors = metadata.flavors
    loader = str(flavors.get("python_function", {}).get("loader_module", ""))
    impl = getattr(model, "_model_impl", None)
    told = getattr(metadata, "metadata", None) or {}
    task = str(told.get("task") or flavors.get("transformers", {}).get("task") or getattr(impl, "task", None) or "")
    inputs, outputs = _columns(metadata.get_input_schema()), _columns(metadata.get_output_schema())
    if len(outputs) == 1 and "" in outputs:
        outputs = _properties(outputs[""]) or outputs  # of an object that stands alone
    get_params = getattr(metadata, "get_params_schema", None)
    schema = get_params() if get_params is not None else None
    params = frozenset(param.name for param in schema.params) if schema is not None else frozenset()
    talk = _talk(loader, task, inputs, outputs, params)
    found: dict[str, Form] = {}
    if talk is not None:
        found[CHAT] = found[RESPONSES] = talk
    if task == "llm/v1/embeddings" or ("input" in inputs and "data" in outputs):
        shape = WHOLE if "input" in inputs and loader != "mlflow.sentence_transformers" else TEXTS
        found[EMBEDDINGS] = Form(shape, EMBEDDINGS, inputs or None, params)
    elif loader == "mlflow.sentence_transformers" or (loader == "mlflow.openai" and task == "embeddings"):
        found[EMBEDDINGS] = Form(TEXTS, EMBEDDINGS, None, params)
    if task == "llm/v1/completions" or ("prompt" in inputs and "choices" in outputs):
        found[COMPLETIONS] = Form(WHOLE, COMPLETIONS, inputs or None, params)
    elif "prompt" in inputs or task in _GENERATES or (loader == "mlflow.openai" and task == "completions"):
        found[COMPLETIONS] = Form(TEXTS, COMPLETIONS, None, params)
    return found


def _talk(
    loader: str, task: str, inputs: dict[str, Any], outputs: dict[str, Any], params: frozenset[str]
) -> Form | None:
    """How a conversation is put to the model; None: it has none."""
    specs = inputs or None
    if (
        task == "agent/v1/responses"
        or loader.endswith(".responses_agent")
        or ("input" in inputs and "output" in outputs)
    ):
        return Form(WHOLE, RESPONSES, specs, params)
    if task in _CHAT_TASKS or loader.endswith((".chat_agent", ".chat_model")) or "messages" in inputs:
        return Form(WHOLE, CHAT, specs, params)
    only = _properties(inputs[""]) if len(inputs) == 1 and "" in inputs else {}
    if "messages" in only:
        return Form(LISTED, CHAT, only, params)
    if {"role", "content"} <= set(only):
        return Form(MESSAGES, CHAT, {"messages": {"type": "array", "items": inputs[""]}}, params)
    if loader == "mlflow.langchain":
        return Form(TEXTS if inputs else WHOLE, CHAT, None, params)
    return Form(TEXTS, CHAT, None, params) if loader == "mlflow.openai" and task == "chat.completions" else None


def _columns(schema: Any) -> dict[str, Any]:
    """The columns of a signature by their names, as MLflow writes them; the name of what has none is empty."""
    specs = schema.to_dict() if schema is not None and hasattr(schema, "to_dict") else []
    return {str(spec.get("name") or ""): spec for spec in specs}


def _properties(spec: dict[str, Any]) -> dict[str, Any]:
    """The members of an object."""
    found = spec.get("properties")
    return found if isinstance(found, dict) else {}
