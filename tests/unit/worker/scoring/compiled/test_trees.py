"""Trees called directly answer the same bytes as scikit-learn, and leave to it what it treats in another way."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.ensemble import RandomForestClassifier

from headrace_worker.scoring.compiled import forms
from headrace_worker.scoring.compiled.alike import edge_rows, same
from headrace_worker.scoring.compiled.tables import Declined
from headrace_worker.scoring.compiled.trees import MOST_ROWS
from tests.unit.worker.scoring.compiled.made import KINDS, data, fitted, loaded

LARGE = (1, 2, 700, 1000)
"""Rows of the calls of a turn, where there are to be many in few calls."""


def compare(kind: str, method: str, *, as_array: bool, directory: Path, large: bool = False) -> int:
    estimator = fitted(KINDS[kind](), labels="regression" not in kind, as_array=as_array)
    if not hasattr(estimator, method):
        return 1
    form = forms.find(loaded(directory, estimator, method))
    compared = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of floats that are too large
        for given in edge_rows(form.core, 60, 5, LARGE) if large else edge_rows(form.core, 1, 5):
            try:
                found = form.fast_last(given)
            except Declined:
                continue
            assert same(form.last(given), found), (kind, method, given)
            compared += len(given)
    return compared


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_are_the_same(kind: str, method: str, as_array: bool, tmp_path: Path) -> None:  # noqa: FBT001
    assert compare(kind, method, as_array=as_array, directory=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_are_the_same_of_a_hundred_thousand_rows(kind: str, method: str, tmp_path: Path) -> None:
    found = compare(kind, method, as_array=True, directory=tmp_path, large=True)
    assert found == 1 or found >= 100_000


def odd_inputs() -> dict[str, Any]:
    frame, _ = data(4)
    nan, infinite, large = frame.copy(), frame.copy(), frame.copy()
    nan.iloc[1, 2], infinite.iloc[1, 2], large.iloc[1, 2] = np.nan, -np.inf, 1e39
    return {
        "NaN": nan,
        "infinite": infinite,
        "too large for 32 bits": large,
        "other names": frame.rename(columns={"c1": "other"}),
        "other order": frame[frame.columns[::-1]],
        "a column less": frame.iloc[:, :-1],
        "no rows": frame.iloc[:0],
        "texts": frame.astype(str),
        "an array": frame.to_numpy(),
        "nullable": frame.astype("Float64").mask(frame > 0),
        "sparse": sparse.csr_matrix(frame.to_numpy()),
        "one row without its table": frame.iloc[0],
        "a list": frame.to_numpy().tolist(),
        "too many rows": data(MOST_ROWS + 1)[0],
    }


@pytest.mark.parametrize("odd", odd_inputs())
def test_what_the_library_treats_in_another_way_is_declined(odd: str, tmp_path: Path) -> None:
    form = forms.find(loaded(tmp_path, fitted(RandomForestClassifier(3))))
    with pytest.raises(Declined):
        form.fast(odd_inputs()[odd])


def test_trees_that_know_missing_values_leave_them_to_the_library(tmp_path: Path) -> None:
    frame, target = data()
    frame = frame.mask(np.random.default_rng(3).random(frame.shape) < 0.1)
    form = forms.find(loaded(tmp_path, RandomForestClassifier(5, random_state=1).fit(frame, target), "predict_proba"))
    whole = frame.dropna()[:50]
    assert len(whole) > 20
    assert same(form.reference(whole), form.fast(whole)), "a threshold may be NaN"
    with pytest.raises(Declined):
        form.fast(frame[frame.isna().any(axis=1)][:1])


def test_integers_and_small_floats_are_read_as_the_library_reads_them(tmp_path: Path) -> None:
    form = forms.find(loaded(tmp_path, fitted(RandomForestClassifier(5)), "predict_proba"))
    frame, _ = data(50)
    for given in (frame.astype("float32"), (frame * 10).astype("int64"), frame.assign(c1=range(50))):
        assert same(form.reference(given), form.fast(given))
