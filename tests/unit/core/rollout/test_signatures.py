"""What callers send today must still be taken by a new version."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.core.rollout.signatures import incompatibilities


def column(name: str | None, type_: str, **more: Any) -> dict[str, Any]:
    return ({} if name is None else {"name": name}) | {"type": type_, **more}


def signature(*inputs: dict[str, Any], **parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"inputs": json.dumps(inputs), **{name: json.dumps(part) for name, part in parts.items()}}


X = column("x", "double")
VECTOR = column(None, "tensor", **{"tensor-spec": {"dtype": "float64", "shape": [-1, 3]}})
WIDER_VECTOR = column(None, "tensor", **{"tensor-spec": {"dtype": "float64", "shape": [-1, 4]}})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (None, signature(X)),
        (signature(X), None),
        (signature(X), {}),
        (signature(X), signature(X)),
        (signature(X, column("y", "long")), signature(X)),  # what is sent too much is dropped
        (signature(X), signature(X, column("y", "long", required=False))),
        (signature(column("x", "integer")), signature(column("x", "long"))),
        (signature(column("x", "integer")), signature(X)),
        (signature(column("x", "long")), signature(X)),
        (signature(column("x", "float")), signature(X)),
        (signature(column("x", "double", required=True)), signature(column("x", "double", required=False))),
        (signature(column("x", "double", required=False)), signature(column("x", "double", required=False))),
        (signature(VECTOR), signature(VECTOR)),
        (signature(X), signature(X, params=[column("k", "long", default=1)])),
        (signature(X, params=[column("k", "long", default=1)]), signature(X, params=[column("k", "long", default=2)])),
        (signature(X, outputs=[column(None, "long")]), signature(X)),  # it promises nothing of its answers
        ({"inputs": "no JSON"}, signature(X)),
        ({"inputs": 5}, signature(X)),
    ],
)
def test_what_breaks_nothing(old: Any, new: Any) -> None:
    assert incompatibilities(old, new) == []


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (signature(X), signature(X, column("y", "long")), "the input 'y' is new and required"),
        (signature(X), signature(column("x", "long")), "the input 'x' was double and is long"),
        (signature(column("x", "long")), signature(column("x", "integer")), "the input 'x' was long and is integer"),
        (signature(column("x", "boolean")), signature(column("x", "long")), "the input 'x' was boolean and is long"),
        (signature(column("x", "double", required=False)), signature(X), "the input 'x' was optional and is required"),
        (signature(VECTOR), signature(VECTOR, VECTOR), "there were 1 inputs and are 2"),
        (
            signature(VECTOR),
            signature(WIDER_VECTOR),
            (
                "input 0 was tensor {'dtype': 'float64', 'shape': [-1, 3]} and is "
                "tensor {'dtype': 'float64', 'shape': [-1, 4]}"
            ),
        ),
        (
            signature(X, params=[column("k", "double", default=1.0)]),
            signature(X, params=[column("k", "long", default=1)]),
            "the param 'k' was double and is long",
        ),
        (
            signature(X, outputs=[column(None, "long")]),
            signature(X, outputs=[column(None, "string")]),
            "the output was long and is string",
        ),
    ],
)
def test_what_would_break_callers_is_said(old: Any, new: Any, why: str) -> None:
    assert incompatibilities(old, new) == [why]


def test_all_that_breaks_is_said() -> None:
    old = signature(X, column("y", "double"), outputs=[column(None, "long")])
    new = signature(
        column("x", "long"),
        column("y", "long"),
        column("z", "long"),
        outputs=[column(None, "long"), column(None, "long")],
    )
    assert incompatibilities(old, new) == [
        "the input 'x' was double and is long",
        "the input 'y' was double and is long",
        "the input 'z' is new and required",
        "the output was long and is long, long",
    ]


def test_parts_may_be_parsed_already() -> None:
    assert incompatibilities({"inputs": [X]}, {"inputs": [column("x", "long")]}) != []
