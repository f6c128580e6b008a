"""What counts as the same answer, and which rows are tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

from headrace_worker.scoring.compiled import forms
from headrace_worker.scoring.compiled.alike import edge_rows, first_different, mutations, same
from tests.unit.worker.scoring.compiled.made import data, fitted, loaded

NAN = np.array([np.nan, 1.0])


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (np.array([1.0, 2.0]), np.array([1.0, 2.0]), True),
        (np.array([1.0]), np.array([np.nextafter(1.0, 2.0)]), False),
        (np.array([0.0]), np.array([-0.0]), False),
        (np.array([1.0]), np.array([1.0], dtype="float32"), False),
        (np.array([1.0]), np.array([[1.0]]), False),
        (NAN, NAN.copy(), True),
        (np.array([1, 2]), [1, 2], False),
        (np.array(["a", "b"], dtype=object), np.array(["a", "b"], dtype=object), True),
        (np.array([1, "b"], dtype=object), np.array([1.0, "b"], dtype=object), False),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 3.0], [2.0, 4.0]]).T, True),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]}), False),
    ],
)
def test_the_same_is_the_same_to_the_byte(one: Any, other: Any, alike: bool) -> None:  # noqa: FBT001
    assert same(one, other) is alike


def test_the_first_row_that_differs_is_told() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    found = first_different(frame, np.array([1, 2, 3]), np.array([1, 0, 0]))
    assert found == {"columns": ["a", "b"], "data": [[2, "y"]]}
    assert first_different(np.array([[1.0], [2.0]]), np.array([1, 2]), ValueError()) == [[1.0], [2.0]]


def test_values_are_at_a_threshold_and_just_beside_it(tmp_path: Path) -> None:
    form = forms.find(loaded(tmp_path, fitted(DecisionTreeClassifier(max_depth=1), as_array=True)))
    (((feature, *_), (threshold, *_)),) = form.core.splits()
    values = {float(v) for given in edge_rows(form.core, 2) if given.dtype == float for v in given[:, feature]}
    single = np.float32(threshold)
    assert threshold in values
    assert float(np.nextafter(single, np.float32(np.inf))) in values
    assert float(np.nextafter(single, np.float32(-np.inf))) in values
    assert any(np.isnan(v) for v in values)
    sizes = {len(given) for given in edge_rows(form.core, 1)}
    assert {1, 2, 3, 16, 64, 256} <= sizes


def test_inputs_after_a_pattern_have_its_columns_and_types() -> None:
    seen = data(5)[0].assign(text="word", count=range(5))
    found = list(mutations(seen, 8))
    assert found[0] is seen
    assert [len(given) for given in found[1:6]] == [1] * 5
    assert all(given.dtypes.equals(seen.dtypes) for given in found)
    texts = {text for given in found for text in given["text"]}
    assert {"", "word"} < texts
    assert max(map(len, texts)) > 1000
    assert any(given["c0"].isna().any() for given in found)
