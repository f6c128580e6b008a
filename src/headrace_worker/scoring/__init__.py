"""Scoring: bytes of requests in, bytes of answers out, by the rules of MLflow's scoring server.

Standard library only at import time; mlflow, pandas and numpy are imported by `load`, as the model's environment
has them.
"""

from __future__ import annotations

from headrace_worker.scoring.loading import LoadError, load_pyfunc
from headrace_worker.scoring.options import ScoringOptions
from headrace_worker.scoring.scorer import Scorer

__all__ = ["LoadError", "Scorer", "ScoringOptions", "load"]


def load(path: str, options: ScoringOptions) -> Scorer:
    """Load the model directory `path`; raises LoadError with a one-line reason."""
    return Scorer(load_pyfunc(path, options), path, options)
