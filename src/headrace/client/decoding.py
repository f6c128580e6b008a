"""From the body of an answer to Python values, arrays or frames, and from several answers to one."""

from __future__ import annotations

import json
from typing import Any

from headrace.client.errors import BadRequest


class NotAnAnswer(Exception):
    """A 200 whose body is not what a model server sends; the message says how."""


def decode(body: bytes, *, wrapped: bool) -> Any:
    """Return the predictions of a 200; NaN and Infinity are read as MLflow writes them. Raises NotAnAnswer."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotAnAnswer(f"the answer is not JSON: {error}") from None
    if not wrapped and not (isinstance(value, dict) and value.keys() == {"predictions"}):
        return value
    if isinstance(value, dict) and "predictions" in value:
        return value["predictions"]
    raise NotAnAnswer("the answer has no predictions")


def joined(answers: list[Any], rows: list[int]) -> Any | None:
    """Put the answers to the parts of an input together; None where they are not one entry for each row."""
    if all(isinstance(a, list) and len(a) == n for a, n in zip(answers, rows, strict=True)):
        return [item for answer in answers for item in answer]
    if not all(isinstance(a, dict) and a.keys() == answers[0].keys() for a in answers):
        return None
    for answer, count in zip(answers, rows, strict=True):
        if not all(isinstance(column, list) and len(column) == count for column in answer.values()):
            return None
    return {name: [item for answer in answers for item in answer[name]] for name in answers[0]}


def to_numpy(value: Any) -> Any:
    """Predictions as a NumPy array, or as a dict of arrays where they are records or columns."""
    import numpy as np

    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        names = list(dict.fromkeys(name for item in value for name in item))
        return {name: np.array([item.get(name) for item in value]) for name in names}
    if isinstance(value, dict):
        return {name: np.array(column) for name, column in value.items()}
    try:
        return np.array(value)
    except ValueError as error:
        raise BadRequest(f"the predictions have no form as one array: {error}; take them as they are") from None


def to_frame(value: Any) -> Any:
    """Predictions as a DataFrame: records and dicts by their names, anything else as the column ``prediction``."""
    import pandas as pd

    if isinstance(value, dict) or (isinstance(value, list) and value and all(isinstance(i, dict) for i in value)):
        return pd.DataFrame(value)
    if isinstance(value, list) and value and all(isinstance(item, list) for item in value):
        return pd.DataFrame(value)
    return pd.DataFrame({"prediction": value if isinstance(value, list) else [value]})
