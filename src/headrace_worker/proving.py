"""One model looked into, its faster form proved and measured, for a command that serves nothing."""

from __future__ import annotations

import json
import time
from typing import Any, Callable, Dict, Optional  # noqa: UP035 - runs on Python 3.9

from . import scoring
from .scoring.compiled import Predictor
from .scoring.options import COMPILE_REQUIRE

_MEASURED_S = 1.0
_ROWS = 64


def prove(order: Dict[str, Any]) -> int:  # noqa: UP006
    """Do what `headrace compile` asks for, and write what came of it to the file ``result``; returns the exit code."""
    options = scoring.ScoringOptions(
        compile=COMPILE_REQUIRE, compile_s=order["compile_s"], model_config=order["model_config"]
    )
    try:
        scorer = scoring.load(order["prove"], options)
    except scoring.LoadError as error:
        told: Dict[str, Any] = {"state": "none", "form": "", "reason": str(error)}  # noqa: UP006
    else:
        scorer.warm_up()
        form = scorer.compiled
        assert form is not None  # noqa: S101 - the option asks for it
        form.prove(options.compile_s)
        told = {**form.told(), "us": _measured(form)}
    with open(order["result"], "w", encoding="utf-8") as file:
        json.dump(told, file)
    return 0


def _measured(form: Predictor) -> Optional[Dict[str, float]]:  # noqa: UP006, UP045
    """Microseconds of one row and of 64, by both forms, the best of some calls; None where there is no form."""
    pair = form.pair(_ROWS)
    if pair is None:
        return None
    original, fast, data = pair
    return {
        "one": _best_us(fast, data[:1]),
        "one_was": _best_us(original, data[:1]),
        "64": _best_us(fast, data),
        "64_was": _best_us(original, data),
    }


def _best_us(call: Callable[[Any], Any], data: Any) -> float:
    best_s, until_s = float("inf"), time.perf_counter() + _MEASURED_S
    while True:
        began_s = time.perf_counter()
        call(data)
        ended_s = time.perf_counter()
        best_s = min(best_s, ended_s - began_s)
        if ended_s > until_s:
            return round(best_s * 1e6, 1)
