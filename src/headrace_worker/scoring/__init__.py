"""Scoring: bytes of requests in, bytes of answers out, by the rules of MLflow's scoring server.

Standard library only at import time; mlflow, pandas and numpy are imported by `load`, as the model's environment
has them.
"""

from __future__ import annotations

import gc

from headrace_worker.scoring.loading import LoadError, load_pyfunc
from headrace_worker.scoring.options import ScoringOptions
from headrace_worker.scoring.scorer import Scorer
from headrace_worker.scoring.streaming import ToldInStream

__all__ = ["LoadError", "Scorer", "ScoringOptions", "ToldInStream", "load"]

_COLLECT_AFTER = 100_000
"""Objects that a load makes before the garbage collector looks; Python's own number is 700."""


def load(path: str, options: ScoringOptions) -> Scorer:
    """Load the model directory `path`; raises LoadError with a one-line reason."""
    before = gc.get_threshold()
    # What is imported stays: looking through it again and again while it grows takes a tenth of a load.
    gc.set_threshold(_COLLECT_AFTER, *before[1:])
    try:
        return Scorer(load_pyfunc(path, options), path, options)
    finally:
        if gc.get_threshold()[0] == _COLLECT_AFTER:  # else the model has its own idea
            gc.set_threshold(*before)
