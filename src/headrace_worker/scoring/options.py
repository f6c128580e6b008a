"""What the operator chose for one model's scoring; plain data, made by the process that starts the worker."""

from __future__ import annotations

from dataclasses import dataclass

from headrace_worker.scoring.compare import AUTO

MLFLOW_ERRORS = "mlflow"
STRICT_ERRORS = "strict"

COMPILE_OFF, COMPILE_AUTO, COMPILE_REQUIRE = "off", "auto", "require"


@dataclass(frozen=True)
class ScoringOptions:
    """How requests are scored and how failures are told.

    `errors` is ``mlflow`` (status and body as `mlflow models serve` gives them) or ``strict`` (4xx only for
    the caller's faults, 500 for the model's, no stack trace). `max_rows` bounds the rows of one predict call
    that holds several requests; 1 turns merging off; one request is never cut, however many rows it has.
    `tolerance` is how far a float of a merged answer may be from what the request alone gets: ``auto`` or a number from
    0 to below 1, see `compare.Judge`.
    `max_inflated_bytes` bounds a body after decompression, `max_nesting` the depth of its JSON arrays and
    objects, `max_integer_digits` the digits of one integer. `model_config` is a JSON object that overrides
    the model's own configuration (MLflow's SERVING_MODEL_CONFIG); None leaves it as it is.
    `version` is what the model's version is called, where an answer says so. `collect_spans`: what the model traces
    with MLflow goes to the gateway.
    `compile` is whether a faster form of the model is looked for: ``off``, ``auto`` (proved while the original serves)
    or ``require`` (proved before it serves). Its proof may take `compile_s` seconds.
    """

    errors: str = MLFLOW_ERRORS
    max_rows: int = 256
    tolerance: float | str = AUTO
    max_inflated_bytes: int = 64 * 1024 * 1024
    max_nesting: int = 500
    max_integer_digits: int = 4300
    model_config: str | None = None
    version: str = ""
    compile: str = COMPILE_OFF
    compile_s: float = 60.0
    collect_spans: bool = False

    def __post_init__(self) -> None:
        if self.errors not in (MLFLOW_ERRORS, STRICT_ERRORS):
            raise ValueError(f"errors: expected mlflow or strict, got {self.errors!r}")
        if self.compile not in (COMPILE_OFF, COMPILE_AUTO, COMPILE_REQUIRE):
            raise ValueError(f"compile: expected off, auto or require, got {self.compile!r}")
        if self.max_rows < 1:
            raise ValueError(f"max_rows: expected at least 1, got {self.max_rows}")
        if self.tolerance != AUTO and not (isinstance(self.tolerance, (int, float)) and 0 <= self.tolerance < 1):
            raise ValueError(f"tolerance: expected {AUTO} or a number from 0 to below 1, got {self.tolerance!r}")

    @property
    def strict(self) -> bool:
        """Whether hazards are refused and errors are told without internals."""
        return self.errors == STRICT_ERRORS
