"""From tensors to what a model takes: which content type each has, which tables and arrays they become.

Content types are MLServer's, and so is what they default to: the signature says it. A tensor becomes an array (``np``),
texts (``str``), bytes (``base64``), dates (``datetime``) or parsed JSON (``pd_json``); the request a DataFrame
(``pd``), an array (``np``), texts (``str``) or arrays by name (``dict``). Its tensors say their types, so whether
requests can be put together is known without a look at their values: nothing is inferred from these.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace_worker.scoring import plan as plans
from headrace_worker.scoring.inference import tensors
from headrace_worker.scoring.inference.requests import Request, Tensor, refused

if TYPE_CHECKING:
    from headrace_worker.scoring.bodies.extent import Bounds
    from headrace_worker.scoring.oracle import Oracle

FRAME, ARRAY, TEXTS, ARRAYS, ITEMS = "pd", "np", "str", "dict", "list"
FORMS = (FRAME, ARRAY, TEXTS, ARRAYS)
"""Content types of requests; ITEMS is what a model with a type hint gets."""

NUMPY, STRINGS, BASE64, DATES, NESTED = "np", "str", "base64", "datetime", "pd_json"
CONTENT_TYPES = (NUMPY, STRINGS, BASE64, DATES, NESTED)

_BY_LETTER = {plans.STRING: STRINGS, plans.BINARY: BASE64, plans.DATE: DATES, plans.NESTED: NESTED}


class Column(NamedTuple):
    """A decoded tensor. `values` is an array or a list; `key` says its type, None if it goes with no other."""

    name: str
    values: Any
    key: Any


class Decoded(NamedTuple):
    """A decoded request: `form` is one of FORMS or ITEMS. `rows` is 0 where tensors have different numbers of them."""

    form: str
    columns: list[Column]
    rows: int


class Inputs:
    """Decodes for one model. `bounds`: see `extent`."""

    def __init__(self, oracle: Oracle, bounds: Bounds | None) -> None:
        self._is_type_hint = oracle.is_type_hint
        self._bounds = bounds
        schema = oracle.input_schema
        self._is_known = schema is not None
        self._form: str | None = None
        self._content_types: dict[str, str] = {}
        if schema is None:
            return
        if schema.is_tensor_spec():
            self._form = ARRAYS if schema.has_input_names() else ARRAY
            self._only = NUMPY
            return
        self._form = FRAME
        if schema.has_input_names():
            names = schema.input_names()
            self._content_types = {name: _content_type(spec) for name, spec in zip(names, schema.inputs)}
        else:
            specs = list(schema.inputs)
            self._content_types = {f"input-{i}": _content_type(spec) for i, spec in enumerate(specs)}
            self._only = _content_type(specs[0]) if len(specs) == 1 else None

    _only: str | None = None
    """The content type of tensors that the signature does not name."""

    def decode(self, request: Request) -> Decoded:
        """Decode a request; raises Refusal."""
        form = self._form_of(request)
        given = request.inputs
        if self._bounds is not None:
            self._bounds.check_columns("inputs", len(given))
        if form in (ARRAY, TEXTS) and len(given) != 1:
            raise refused(f"A request of content type '{form}' has one input; this one has {len(given)}.", "inputs")
        columns = [self._column(tensor, form) for tensor in given]
        lengths = {tensor.shape[0] if tensor.shape else 1 for tensor in given}
        if form in (FRAME, ITEMS) and len(lengths) > 1:
            raise refused("The inputs have different numbers of rows: see the first size of each shape.", "inputs")
        return Decoded(form, columns, lengths.pop() if len(lengths) == 1 else 0)

    def _form_of(self, request: Request) -> str:
        asked = request.content_type
        if asked is not None and asked not in FORMS:
            raise refused(f"The content type '{asked}' is not one of {', '.join(FORMS)}.", "parameters.content_type")
        if self._is_type_hint:
            return ITEMS
        if asked is not None:
            return asked
        if self._form is not None:
            return self._form
        if len(request.inputs) > 1:
            return FRAME
        tensor = request.inputs[0]
        is_text = tensor.datatype == tensors.BYTES and tensor.content_type in (None, STRINGS)
        return TEXTS if is_text else ARRAY

    def _column(self, tensor: Tensor, form: str) -> Column:
        is_bytes = tensor.datatype == tensors.BYTES
        content_type = tensor.content_type
        if content_type is None:
            content_type = self._content_types.get(tensor.name, self._only)
            if content_type is None or (content_type != NUMPY) != is_bytes:
                content_type = STRINGS if is_bytes else NUMPY
            if content_type == BASE64 and tensor.raw is not None:
                return Column(tensor.name, tensors.elements(tensor), (tensor.datatype, BASE64))
        if content_type not in CONTENT_TYPES:
            raise refused(f"The content type '{content_type}' is not one of {', '.join(CONTENT_TYPES)}.", tensor.where)
        if not is_bytes:
            if content_type != NUMPY:
                raise refused(f"Only tensors of BYTES can be of content type '{content_type}'.", tensor.where)
            return _numbers(tensor, form)
        values = tensors.elements(tensor)
        if content_type == NUMPY or form in (ARRAY, ARRAYS):
            return _texts_array([_decoded(one, content_type, tensor) for one in values], tensor)
        _check_flat(tensor)
        found = [_decoded(one, content_type, tensor) for one in values]
        key: Any = (tensor.datatype, content_type)
        if content_type == NESTED or (content_type == DATES and None in found):
            key = None
        return Column(tensor.name, found, key)


def together(requests: list[Decoded]) -> Any:
    """What the model is given for requests of one kind, in their order."""
    import numpy as np

    first = requests[0]
    values: dict[str, Any] = {}
    for place, column in enumerate(first.columns):
        parts = [request.columns[place].values for request in requests]
        if isinstance(column.values, list):
            values[column.name] = list(chain.from_iterable(parts))
        else:
            # A copy in any case: what came in binary cannot be written to, and the model's input is the model's.
            values[column.name] = np.concatenate(parts) if column.values.ndim else parts[0].copy()
    if first.form == FRAME:
        return _frame(values)
    if first.form == ARRAYS:
        return values
    if first.form == ITEMS:
        return _items(values)
    return next(iter(values.values()))


def _frame(values: dict[str, Any]) -> Any:
    import pandas as pd

    return pd.DataFrame({name: pd.Series(_column_of(one)) for name, one in values.items()})


def _column_of(values: Any) -> Any:
    if isinstance(values, list):
        return values
    return values.reshape(len(values)) if values.ndim == 1 or values.size == len(values) else list(values)


def _items(values: dict[str, Any]) -> list[Any]:
    lists = {name: one if isinstance(one, list) else _column_of(one) for name, one in values.items()}
    plain = {name: one.tolist() if hasattr(one, "tolist") else list(one) for name, one in lists.items()}
    if len(plain) == 1:
        return next(iter(plain.values()))
    return [dict(zip(plain, row)) for row in zip(*plain.values())]


def _numbers(tensor: Tensor, form: str) -> Column:
    array = tensors.numbers(tensor)
    if form in (FRAME, ITEMS, TEXTS) and not array.ndim:
        raise refused("The shape must have a dimension for the rows.", tensor.where)
    trailing = tensor.shape[1:]
    if form == FRAME and tensor.shape[0] and array.size == tensor.shape[0]:
        trailing = ()
    return Column(tensor.name, array, (tensor.datatype, trailing))


def _texts_array(values: list[Any], tensor: Tensor) -> Column:
    """An array: of texts as NumPy has them, of objects where there are others."""
    import numpy as np

    if set(map(type, values)) <= {str}:
        tensors.check_texts(values, tensor)
        array = np.array(values, dtype=str) if values else np.array([], dtype=str)
    else:
        array = np.empty(len(values), dtype=object)
        array[:] = values
    return Column(tensor.name, array.reshape(tensor.shape), (tensor.datatype, array.dtype.kind, tensor.shape[1:]))


def _check_flat(tensor: Tensor) -> None:
    if not tensor.shape or tensor.elements != tensor.shape[0]:
        raise refused(f"A column has the shape [rows] or [rows, 1], not {list(tensor.shape)}.", tensor.where)


def _decoded(element: Any, content_type: str, tensor: Tensor) -> Any:
    if content_type == BASE64:
        return None if element is None else _from_base64(element, tensor)
    value = tensors.text(element, tensor)
    if value is None or content_type in (NUMPY, STRINGS):
        return value
    try:
        return _date(value) if content_type == DATES else json.loads(value)
    except (ValueError, OverflowError, RecursionError):
        what = "dates as ISO 8601 has them" if content_type == DATES else "JSON"
        raise refused(f"An element is none of what '{content_type}' takes: {what}.", tensor.where) from None


def _date(value: str) -> dt.datetime:
    """A date in UTC, without its zone: MLflow's columns of dates have none."""
    zulu = value.endswith(("Z", "z"))  # `fromisoformat` before Python 3.11 does not know this name of UTC
    found = dt.datetime.fromisoformat(value[:-1] + "+00:00" if zulu else value)
    return found if found.tzinfo is None else found.astimezone(dt.timezone.utc).replace(tzinfo=None)


def _from_base64(element: Any, tensor: Tensor) -> bytes:
    """What is no base64 is taken as it is, as MLServer does."""
    try:
        data: bytes = element if type(element) is bytes else element.encode("ascii")
    except UnicodeEncodeError:
        raise refused("An element is no base64.", tensor.where) from None
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        return data


def _content_type(spec: Any) -> str:
    letter = plans.column_letter(spec)
    return _BY_LETTER.get(letter or plans.NESTED, NUMPY)
