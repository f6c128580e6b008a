"""CSV and Parquet bodies in the cases where MLflow's own parser fails on what it should take.

All else about these two formats is MLflow's.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from headrace_worker.scoring.bodies import media

if TYPE_CHECKING:
    from headrace_worker.scoring.oracle import Oracle


class Tables:
    """Parses what the reference cannot, for one model."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        schema = oracle.input_schema
        self._is_tensor = schema is not None and bool(schema.is_tensor_spec())
        types: dict[str, str] = {}
        if schema is not None and not self._is_tensor and schema.has_input_names():
            types = {name: getattr(t, "name", "") for name, t in zip(schema.input_names(), schema.input_types())}
        self._dates = [name for name, kind in types.items() if kind == "datetime"]
        self._reals = {name: kind for name, kind in types.items() if kind in ("double", "float")}

    def parse(self, kind: str, body: bytes) -> Any:
        """A DataFrame, or None where MLflow parses this body itself. Raises what its own parsers raise."""
        if kind == media.CSV and (self._dates or self._is_tensor):
            return self._parse_csv(body)
        if kind == media.PARQUET and self._reals:
            return self._parse_parquet(body)
        return None

    def _parse_csv(self, body: bytes) -> Any:
        """As MLflow's, but columns of dates are parsed (`read_csv` refuses their dtype) and tensors are columns."""
        import pandas as pd

        schema = self._oracle.input_schema
        dtypes: dict[str, Any] = {}
        if not self._is_tensor:
            pairs = zip(schema.input_names(), schema.pandas_types())
            dtypes = {name: dtype for name, dtype in pairs if name not in self._dates}
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            return None  # MLflow has words for that
        try:
            frame = pd.read_csv(io.StringIO(text), dtype=dtypes)
            for name in self._dates:
                if name in frame.columns:
                    frame[name] = pd.to_datetime(frame[name])
        except Exception as error:
            raise self._oracle.bad_request(
                "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid CSV-formatted Pandas"
                f" DataFrame produced using the `pandas.DataFrame.to_csv()` method. Error: '{error}'"
            ) from error
        return frame

    def _parse_parquet(self, body: bytes) -> Any:
        """As MLflow's, with integers cast to double where the signature says double, as JSON's are."""
        frame = self._oracle.server.parse_parquet_input(io.BytesIO(body))
        for name in self._reals:
            if name in frame.columns and getattr(frame[name].dtype, "kind", "") in "iu":
                frame[name] = frame[name].astype("float64" if self._reals[name] == "double" else "float32")
        return frame
