"""CSV and Parquet that MLflow refuses by an accident."""

import io

import pandas as pd
import pytest
from mlflow.types import ColSpec, Schema

from headrace_worker import wire
from tests.unit.worker.models import ask, load, predictions
from tests.unit.worker.scoring.repairing.sent import DATES, OPTIONAL, seen

pytestmark = pytest.mark.filterwarnings("ignore")
CSV = wire.head(b"text/csv")
PARQUET = wire.head(b"application/vnd.apache.parquet")


@pytest.mark.parametrize("separator", [",", ";"])
def test_csv_with_zones_semicolons_and_missing_values(separator: str) -> None:
    schema = Schema([*DATES.inputs, *OPTIONAL.inputs])
    rows = [
        ["n", "t", "d", "i", "b"],
        ["1", "2024-01-01T00:00:00Z", "1.5", "", "true"],
        ["2", "2024-01-01T02:00:00+02:00", "2", "7", ""],
    ]
    body = "\n".join(separator.join(row) for row in rows).encode()
    scorer, _ = load(lambda data, _: [str(data.dtypes.to_dict()), *map(str, data.to_numpy().tolist())], schema)
    (answer,) = ask(scorer, body, head=CSV)
    types, *values = predictions(answer)
    assert "Int32" in types
    assert "Boolean" in types
    assert values == [
        "[1, Timestamp('2024-01-01 00:00:00'), 1.5, <NA>, True]",
        "[2, Timestamp('2024-01-01 00:00:00'), 2.0, 7, <NA>]",
    ]


def test_a_semicolon_separates_only_where_commas_do_not_fit() -> None:
    scorer, _ = load(seen, Schema([ColSpec("string", "a;b")]))
    assert "x;y" in predictions(ask(scorer, b"a;b\nx;y\n", head=CSV)[0])[0]
    scorer, _ = load(seen, Schema([ColSpec("string", "a"), ColSpec("double", "b")]))
    assert ask(scorer, b"a;b\nx;1.5\n", head=CSV) == ask(scorer, b"a,b\nx,1.5\n", head=CSV)
    assert ask(scorer, b"a;c\nx;1.5\n", head=CSV)[0].status == 400
    assert ask(scorer, b"a;b\nx;1,5\n", head=CSV)[0].status == 400


def test_parquet_with_zones_and_missing_values() -> None:
    schema = Schema([*DATES.inputs, *OPTIONAL.inputs])
    moment = pd.Timestamp("2024-01-01T02:00:00+02:00")
    frame = pd.DataFrame(
        {"n": [1, 2], "t": [moment, moment], "d": [1.0, 2.0], "l": pd.array([2**62 + 1, None], "Int64")}
    )
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    scorer, _ = load(seen, schema)
    first, second = predictions(ask(scorer, buffer.getvalue(), head=PARQUET)[0])
    assert "2024-01-01 00:00:00" in first
    assert str(2**62 + 1) in first
    assert "Int64" in second
