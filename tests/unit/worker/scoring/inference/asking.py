"""Inference requests for tests: made, asked and read."""

from __future__ import annotations

import json
from typing import Any

from headrace_worker import scoring, wire


def head(size: int | None = None, coding: bytes = b"") -> bytes:
    """What a gateway makes of the headers of one."""
    return wire.spoken_head(wire.Spoken(wire.V2, "m", size), wire.head(b"application/json", coding))


def tensor(name: str, datatype: str, data: Any, shape: list[int] | None = None, **parameters: Any) -> dict[str, Any]:
    """An input; a list without nesting is a column where no shape is given."""
    told = {"name": name, "shape": [len(data)] if shape is None else shape, "datatype": datatype, "data": data}
    return {**told, "parameters": parameters} if parameters else told


def ask(scorer: scoring.Scorer, *documents: Any, raw: bytes = b"", is_binary: bool = False) -> list[wire.Answer]:
    """Score requests, as one batch; `raw` follows each where `is_binary`."""
    bodies = [d if isinstance(d, bytes) else json.dumps(d).encode() for d in documents]
    heads = [head(len(body) if is_binary else None) for body in bodies]
    views = [memoryview(body + raw) for body in bodies]
    return scorer.score(heads, bytes(range(len(views))), views)[0]


def outputs(answer: wire.Answer) -> dict[str, Any]:
    """The data of each output of a response in JSON."""
    assert answer.status == 200, answer
    return {one["name"]: one["data"] for one in json.loads(answer.body)["outputs"]}


def error(answer: wire.Answer) -> tuple[int, str]:
    """(status, message) of an error in the protocol's form."""
    told = json.loads(answer.body)
    assert list(told) == ["error"]
    return answer.status, told["error"]
