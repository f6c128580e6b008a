"""MLflow's scoring functions where Flask is not installed.

Until 2.21 MLflow imports Flask, and its tracking server, next to the functions that parse and answer, which use
neither; mlflow-skinny brings neither. Empty modules of these names are all that the functions need, and only while they
are imported and called: whatever else asks for Flask is told the truth.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any, Dict, List  # noqa: UP035 - runs on Python 3.9

_FLASK = "flask"
# Decorates the routes of a server that is not started.
_SERVER = {"catch_mlflow_exception": lambda function: function}


class StandIns:
    """Within it, modules of these names can be imported; may be entered again and again, also while it is."""

    def __init__(self, contents: Dict[str, Dict[str, Any]]) -> None:  # noqa: UP006
        self._contents = contents
        self._standing: List[str] = []  # noqa: UP006
        self._depth = 0

    def __enter__(self) -> None:
        self._depth += 1
        for name, content in self._contents.items():
            if name not in sys.modules:
                module = types.ModuleType(name)
                vars(module).update(content)
                sys.modules[name] = module
                self._standing.append(name)

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        while self._standing and not self._depth:
            sys.modules.pop(self._standing.pop(), None)


def to_import() -> StandIns:
    """What the import of `mlflow.pyfunc.scoring_server` may lack here."""
    return StandIns({} if _has_flask() else {_FLASK: {}, "mlflow.server": {}, "mlflow.server.handlers": _SERVER})


def to_call() -> StandIns:
    """What its `invocations` may lack here."""
    return StandIns({} if _has_flask() else {_FLASK: {}})


def _has_flask() -> bool:
    return _FLASK in sys.modules or importlib.util.find_spec(_FLASK) is not None
