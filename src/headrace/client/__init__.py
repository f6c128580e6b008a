"""The client: one line for a served model or a local one, and it does not fall over.

    from headrace.client import connect
    topics = connect("http://localhost:5001")
    topics.predict(["Breaking news about technology"])

Importing this imports neither httpx nor mlflow, pandas or numpy: each comes when it is needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.client.asynchronous import AsyncClient
    from headrace.client.blocking import Client
    from headrace.client.connecting import aconnect, connect
    from headrace.client.errors import (
        BadRequest,
        ClientError,
        DeadlineExceeded,
        ModelError,
        Overloaded,
        PartialFailure,
        RowsFailed,
        Unavailable,
    )
    from headrace.client.options import Options
    from headrace.client.replies import Prediction
    from headrace.client.streams import AsyncStream, Stream
    from headrace.core.client.balancing import BreakerPolicy
    from headrace.core.client.hedging import HedgePolicy
    from headrace.core.client.retrying import BudgetPolicy

__all__ = [
    "AsyncClient",
    "AsyncStream",
    "BadRequest",
    "BreakerPolicy",
    "BudgetPolicy",
    "Client",
    "ClientError",
    "DeadlineExceeded",
    "HedgePolicy",
    "ModelError",
    "Options",
    "Overloaded",
    "PartialFailure",
    "Prediction",
    "RowsFailed",
    "Stream",
    "Unavailable",
    "aconnect",
    "connect",
]

_HOMES = {
    "AsyncClient": "headrace.client.asynchronous",
    "AsyncStream": "headrace.client.streams",
    "BreakerPolicy": "headrace.core.client.balancing",
    "BudgetPolicy": "headrace.core.client.retrying",
    "Client": "headrace.client.blocking",
    "HedgePolicy": "headrace.core.client.hedging",
    "Options": "headrace.client.options",
    "Prediction": "headrace.client.replies",
    "Stream": "headrace.client.streams",
    "aconnect": "headrace.client.connecting",
    "connect": "headrace.client.connecting",
}


def __getattr__(name: str) -> Any:
    """Import a name's module when it is first asked for: a container's health check needs hardly any of them."""
    if name not in __all__:
        raise AttributeError(f"module 'headrace.client' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "headrace.client.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
