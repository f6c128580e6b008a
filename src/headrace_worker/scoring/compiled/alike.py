"""Whether two answers are the same to the byte, and rows that may show that they are not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace_worker.scoring.compiled.forms import Core

_THRESHOLDS = 4096
"""How many thresholds of one model are looked at: those of the first trees."""

SIZES = (1, 1, 1, 2, 3, 16, 64, 256)
"""Rows of the calls of one turn: those of a request alone, and of merged ones."""

_LONG_TEXT = "word " * 2000


def same(one: Any, other: Any) -> bool:
    """Whether two answers have the same type, form and bytes."""
    np: Any = sys.modules["numpy"]
    if type(one) is not type(other):
        return False
    if type(one) is not np.ndarray:
        return bool(one == other) if isinstance(one, (str, int, float, list)) else False
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.hasobject:
        pairs = zip(one.ravel().tolist(), other.ravel().tolist())
        return all(type(a) is type(b) and a == b for a, b in pairs)
    return bool(one.tobytes() == other.tobytes())


def first_different(data: Any, one: Any, other: Any) -> Any:
    """The first row of `data` whose answers differ, as JSON-able data; all of it where that cannot be said."""
    place = None
    try:
        if len(data) == len(one) == len(other):
            place = next((i for i in range(len(data)) if not same(one[i : i + 1], other[i : i + 1])), None)
    except Exception:  # noqa: BLE001 - answers may be anything
        place = None
    part = data if place is None else data[place : place + 1]
    if hasattr(part, "to_dict"):
        return {"columns": list(map(str, part.columns)), "data": part.head(100).to_numpy().tolist()}
    return part[:100].tolist() if hasattr(part, "tolist") else repr(part)[:10_000]


def edge_rows(core: Core, turns: int, seed: int = 0, sizes: Sequence[int] = SIZES) -> Iterator[Any]:
    """Inputs for the last step: at its trees' thresholds, just beside them, and what is not finite."""
    np: Any = sys.modules["numpy"]
    pd: Any = sys.modules["pandas"]
    random = np.random.default_rng(seed)
    by_feature = _thresholds(core, np)

    def table(values: Any) -> Any:
        return values if core.names is None else pd.DataFrame(values, columns=core.names)

    for turn in range(turns):
        for size in sizes:
            values = np.empty((size, core.width))
            for feature, known in enumerate(by_feature):
                chosen = random.choice(known, size)
                beside = random.integers(0, 5, size)
                single = chosen.astype(np.float32)
                below = np.nextafter(single, np.float32(-np.inf)).astype(np.float64)
                above = np.nextafter(single, np.float32(np.inf)).astype(np.float64)
                # The threshold is a double between two of 32 bits, which is what values become.
                choices = [chosen, below, above, np.nextafter(chosen, np.inf), random.normal(chosen, 1 + abs(chosen))]
                values[:, feature] = np.choose(beside, choices)
            yield table(values)
        for odd in (np.nan, np.inf, -np.inf, 3.4e38, -0.0, 5e-324):
            values = np.zeros((2, core.width))
            values[0, turn % core.width] = odd
            yield table(values)
        yield table(np.zeros((3, core.width), dtype=np.float32))
        yield table(np.arange(2 * core.width, dtype=np.int64).reshape(2, core.width))


def _thresholds(core: Core, np: Any) -> list[Any]:
    """For each column the thresholds that it is compared with, and 0."""
    left, found = _THRESHOLDS, [[np.zeros(1)] for _ in range(core.width)]
    for all_features, all_thresholds in core.splits():
        if left <= 0:
            break
        features, thresholds = all_features[:left], all_thresholds[:left]
        left -= len(features)
        for feature in set(features.tolist()):
            found[feature].append(thresholds[features == feature])
    return [np.concatenate(parts) for parts in found]


def mutations(seen: Any, turns: int, seed: int = 0) -> Iterator[Any]:
    """Inputs after the pattern of one that was seen: its rows alone, and with values that nobody has thought of."""
    np: Any = sys.modules["numpy"]
    pd: Any = sys.modules["pandas"]
    yield seen
    for row in range(min(len(seen), 8)):
        yield seen[row : row + 1]
    if type(seen) is not pd.DataFrame or not len(seen):
        return
    random = np.random.default_rng(seed)
    rows = seen.iloc[np.arange(16) % len(seen)].reset_index(drop=True)
    for turn in range(turns):
        changed = rows.copy()
        for column in rows.columns:
            old = rows[column]
            kind = old.dtype.kind if isinstance(old.dtype, np.dtype) else ""
            if kind == "f":
                scaled = old.to_numpy() * random.normal(1, 0.5, len(old)) + random.normal(0, 1, len(old))
                scaled[random.integers(len(old))] = [0.0, -1e9, 1e9, -0.0][turn % 4]
                changed[column] = scaled.astype(old.dtype)
            elif kind in ("i", "u"):
                changed[column] = random.integers(0, 100, len(old)).astype(old.dtype)
            elif all(isinstance(value, str) for value in old):
                odd = ["", " ", _LONG_TEXT, "unheard of", "ünïcödé \U0001f600"]
                changed[column] = [odd[i] if i < len(odd) and turn % 2 == 0 else v for i, v in enumerate(old)]
        yield changed
        if turn % 4 == 0:
            floats = [column for column in rows.columns if rows[column].dtype.kind == "f"]
            for column in floats[:4]:
                broken = rows.copy()
                broken.loc[0, column] = [np.nan, np.inf][turn // 4 % 2]
                yield broken
