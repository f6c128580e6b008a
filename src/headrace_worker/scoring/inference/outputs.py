"""From a model's answer to the outputs of an inference response, in JSON or in binary.

What an answer becomes follows MLServer's codecs: a DataFrame an output for each column (``pd``), an array one
(``np``), arrays by name one each (``dict``), texts one (``str``). What they have no form for becomes JSON in texts
(``pd_json``), so that no answer is lost for want of a datatype.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace_worker import wire
from headrace_worker.scoring import rows
from headrace_worker.scoring.errors.refusal import JSON
from headrace_worker.scoring.inference import tensors
from headrace_worker.scoring.inference.requests import Request, Wanted, refused

if TYPE_CHECKING:
    from headrace_worker.scoring.output import Encoder

ONLY_OUTPUT = "output-1"
"""What the one output of a model is called whose signature does not name it: MLServer's name."""


class Output(NamedTuple):
    """One output; `data` is an array, or a list of texts (or None) or bytes."""

    name: str
    data: Any
    datatype: str
    content_type: str

    @property
    def shape(self) -> list[int]:
        """Of at least two dimensions, as MLServer has it."""
        if isinstance(self.data, list):
            return [len(self.data), 1]
        shape = list(self.data.shape)
        return shape if len(shape) > 1 else [*shape, 1]


class Outputs:
    """A model's answer. `form` is its content type; `rows` None: the outputs have no or several numbers of them."""

    def __init__(self, form: str | None, outputs: list[Output], number: int | None) -> None:
        self.form = form
        self.outputs = outputs
        self.rows = number

    # What `Engine` asks of a table: see `rows.Table`.

    @property
    def items(self) -> Outputs:
        """Itself: its parts are not those of a list."""
        return self

    @property
    def columns(self) -> list[rows.Column]:
        """Its values, with a word for the type that they have."""
        return [rows.Column(o.name, (o.name, _word(o)), _listed(o.data)) for o in self.outputs]

    def part(self, at: int, end: int) -> Outputs:
        """The answer to the rows from `at` to before `end`."""
        cut = [one._replace(data=one.data[at:end]) for one in self.outputs]
        return Outputs(self.form, cut, end - at)


class Reader:
    """Makes `Outputs` of one model's answers. Raises nothing but what a model's objects raise while they are read."""

    def __init__(self, schema: Any, encoder: Encoder) -> None:
        self._encoder = encoder
        names = [spec.name for spec in getattr(schema, "inputs", None) or ()]
        self._only = str(names[0]) if len(names) == 1 and names[0] else ONLY_OUTPUT

    def read(self, raw: Any) -> Outputs:
        """Take an answer apart; raises Unsendable for what has no form at all."""
        if isinstance(raw, Outputs):
            return raw
        import numpy as np
        import pandas as pd

        number = rows.count(raw)
        if isinstance(raw, pd.DataFrame):
            columns = [self._column(str(name), raw.iloc[:, place]) for place, name in enumerate(raw.columns)]
            return Outputs("pd", columns, number)
        if isinstance(raw, pd.Series):
            return Outputs("pd", [self._column(self._only if raw.name is None else str(raw.name), raw)], number)
        if isinstance(raw, np.ndarray):
            return Outputs("np", [self._array(self._only, raw)], number)
        if type(raw) is dict and raw and all(type(name) is str and _is_list(value) for name, value in raw.items()):
            outputs = [self._listed(name, value) for name, value in raw.items()]
            lengths = {len(one.data) for one in outputs}
            return Outputs("dict", outputs, lengths.pop() if len(lengths) == 1 else None)
        if type(raw) is list:
            only = self._listed(self._only, raw)
            return Outputs("str" if only.content_type == "str" else "np", [only], len(raw))
        if hasattr(raw, "toarray"):
            return self.read(raw.toarray())
        return Outputs(None, [self._listed(self._only, [raw])], None)

    def parts(self, raw: Any) -> int | None:
        """Into how many rows an answer can be taken apart, None if it cannot be."""
        try:
            return self.read(raw).rows
        except Exception:  # noqa: BLE001 - whatever a model's objects raise while they are looked at
            return None

    def _column(self, name: str, series: Any) -> Output:
        import numpy as np

        dtype, missing = series.dtype, series.isna()
        if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
            return self._array(name, series.to_numpy())
        known = getattr(dtype, "numpy_dtype", None)  # of pandas' nullable types: a null makes floats of all
        if known is not None and known.kind in "biuf":
            lacking = {"dtype": "float64", "na_value": float("nan")}
            return self._array(name, series.to_numpy(**(lacking if missing.any() else {"dtype": known})))
        values = [None if lacks is True else one for one, lacks in zip(series.tolist(), missing.tolist())]
        return self._objects(name, values)

    def _array(self, name: str, array: Any) -> Output:
        datatype = tensors.DATATYPES.get(str(array.dtype))
        if array.dtype.kind == "f" and datatype is None:
            array, datatype = array.astype("float64"), "FP64"
        if not array.ndim:
            array = array.reshape(1)
        if datatype is not None:
            return Output(name, array, datatype, "np")
        if array.dtype.kind == "U" or (array.dtype.kind == "O" and all(type(one) is str for one in array.flat)):
            return Output(name, array, tensors.BYTES, "np")
        return self._objects(name, array.tolist())

    def _listed(self, name: str, value: Any) -> Output:
        """An output of a list or an array: a tensor where NumPy makes one without a guess."""
        import numpy as np

        if isinstance(value, np.ndarray):
            return self._array(name, value)
        types = set(map(type, value))
        if types and (types <= {int, float} or types == {bool} or all(issubclass(one, np.generic) for one in types)):
            try:
                array = np.array(value)
            except OverflowError:
                array = np.array(value, dtype=object)
            if array.dtype.kind in "biufU":
                return self._array(name, array)
        if types == {list} and (flat := _rectangular(value)) is not None:
            return self._array(name, flat)
        return self._objects(name, value)

    def _objects(self, name: str, values: list[Any]) -> Output:
        types = set(map(type, values))
        if types <= {str} or (types <= {str, type(None)} and str in types):
            return Output(name, values, tensors.BYTES, "str")
        if types == {bytes}:
            return Output(name, [base64.b64encode(one).decode() for one in values], tensors.BYTES, "base64")
        if types and all(issubclass(one, dt.date) for one in types):
            return Output(name, [_iso(one) for one in values], tensors.BYTES, "datetime")
        texts = [self._encoder.encode(one, wrapped=False).decode("utf-8", "surrogatepass") for one in values]
        return Output(name, texts, tensors.BYTES, "pd_json")


def encode(told: dict[str, Any], request: Request, answer: Outputs, rows_in: int) -> wire.Answer:
    """The response: `told` (model, version) and the outputs that `request` wants; raises Refusal for others."""
    wanted = request.outputs
    if wanted is None:
        wanted = [Wanted(one.name, request.all_binary) for one in answer.outputs]
    known = {one.name: one for one in answer.outputs}
    if unknown := [one.name for one in wanted if one.name not in known]:
        there = ", ".join(f"'{name}'" for name in known)
        raise refused(f"The model has no output '{unknown[0][:200]}'; there are: {there[:1000]}.", "outputs")
    binary: list[bytes] = []
    outputs = [_encode(known[one.name], binary if one.is_binary else None) for one in wanted]
    body = dict(told)
    if request.id is not None:
        body["id"] = request.id
    if answer.form is not None:
        body["parameters"] = {"content_type": answer.form}
    body["outputs"] = outputs
    head = json.dumps(body).encode()
    if not any(one.is_binary for one in wanted):
        return wire.Answer(200, JSON, head, rows_in)
    return wire.Answer(200, wire.binary_type(len(head)), b"".join((head, *binary)), rows_in)


def _encode(output: Output, binary: list[bytes] | None) -> dict[str, Any]:
    parameters: dict[str, Any] = {"content_type": output.content_type}
    told = {"name": output.name, "shape": output.shape, "datatype": output.datatype, "parameters": parameters}
    if binary is None:
        return {**told, "data": _json_data(output)}
    if output.datatype == tensors.BYTES:
        data = tensors.packed(["" if one is None else one for one in _listed(output.data, flat=True)])
    else:
        data = output.data.astype(output.data.dtype.newbyteorder("<"), copy=False).tobytes()
    parameters["binary_data_size"] = len(data)
    binary.append(data)
    return told


def _json_data(output: Output) -> list[Any]:
    values = _listed(output.data, flat=True)
    if output.datatype.startswith("FP"):
        import numpy as np

        if not np.isfinite(output.data).all():
            return [value if value - value == 0 else None for value in values]  # JSON has no NaN, and no infinity
    return values


def _listed(values: Any, *, flat: bool = False) -> list[Any]:
    if isinstance(values, list):
        return values
    found: list[Any] = (values.reshape(-1) if flat else values).tolist()
    return found


def _word(output: Output) -> str:
    if isinstance(output.data, list):
        return {"str": "str", "base64": "str"}.get(output.content_type, "object")
    return "str" if output.datatype == tensors.BYTES else str(output.data.dtype)


def _is_list(value: Any) -> bool:
    return type(value) is list or (type(value).__module__ == "numpy" and getattr(value, "ndim", 0) > 0)


def _rectangular(value: list[Any]) -> Any:
    import numpy as np

    leaves: list[Any] = value
    while leaves and set(map(type, leaves)) == {list}:
        if len(set(map(len, leaves))) > 1:
            return None
        leaves = [one for inner in leaves for one in inner]
    types = set(map(type, leaves))
    if not (types <= {int, float} or types in ({bool}, {str})):
        return None
    try:
        return np.array(value)
    except (OverflowError, ValueError):
        return None


def _iso(value: Any) -> str | None:
    return None if value != value else str(value.isoformat())  # noqa: PLR0124 - NaT


def unpacked(datatype: str, data: bytes) -> list[Any]:
    """The elements of an output in binary."""
    if datatype == tensors.BYTES:
        return [data]  # texts are the same or not; where one ends does not matter for that
    import numpy as np

    found: list[Any] = np.frombuffer(data, np.dtype(tensors.DTYPES[datatype]).newbyteorder("<")).tolist()
    return found
