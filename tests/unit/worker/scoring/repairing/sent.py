"""One table in all the forms that a client may send it in, and what the model gets of each."""

import json
from typing import Any

import pandas as pd
from hypothesis import HealthCheck, settings
from mlflow.types import ColSpec, Schema

from tests.unit.worker.models import ask, load

relaxed = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
OPTIONAL = Schema(
    [
        ColSpec("double", "d"),
        ColSpec("integer", "i", required=False),
        ColSpec("long", "l", required=False),
        ColSpec("boolean", "b", required=False),
    ]
)
DATES = Schema([ColSpec("long", "n"), ColSpec("datetime", "t")])


def seen(data: Any, params: Any) -> list[str]:
    """What the model got, as texts: one a row."""
    if isinstance(data, pd.DataFrame):
        told = [f"{json.dumps({k: str(v) for k, v in row.items()})}" for row in data.to_dict(orient="records")]
        return [f"{row} {[str(t) for t in data.dtypes]} {params}" for row in told]
    return [f"{row!r} {params}" for row in data]


def forms(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One table in each form that takes named columns."""
    names = list(rows[0])
    columns = {name: [row[name] for row in rows] for name in names}
    return [
        {"dataframe_split": {"columns": names, "data": [list(row.values()) for row in rows]}},
        {"dataframe_records": rows},
        {"inputs": rows},
        {"instances": rows},
        {"inputs": columns},
        {"instances": columns},
    ]


def assert_equal(schema: Any, sent: list[dict[str, Any]], normal: list[dict[str, Any]], **options: Any) -> None:
    """Each request sent is answered as the normal one, alone, in company, and with strict errors."""
    for errors in ("mlflow", "strict"):
        scorer, _ = load(seen, schema, errors=errors, **options)
        for one, other in zip(sent, normal, strict=True):
            (wanted,) = ask(scorer, other)
            assert wanted.status == 200, (other, wanted)
            assert ask(scorer, one) == [wanted]
            assert ask(scorer, other, one, one, other) == [wanted] * 4
