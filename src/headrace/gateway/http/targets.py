"""The target of a request: what it wants, of which model, and in which protocol. The result of routing."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Want(IntEnum):
    """What a request asks for."""

    INVOKE = 0
    HEALTH = 1
    VERSION = 2
    MODELS = 3
    NOT_FOUND = 4
    WRONG_METHOD = 5
    REDIRECT = 6
    WRONG_MODEL = 7
    PREFLIGHT = 8
    INFER = 9
    SERVER = 10
    LIVE = 11
    READY = 12
    METADATA = 13
    INDEX = 14
    LOAD = 15
    OPENAPI = 16
    DOCS = 17
    ASK = 18
    FEEDBACK = 19
    MCP = 20


PREDICTIONS = frozenset((Want.INVOKE, Want.INFER, Want.ASK))
"""What is asked of a model itself, in whichever protocol."""

MAY_ASK = PREDICTIONS | {Want.MCP}
"""What may turn out to be asked of a model when its body is read."""

MCP = "mcp"
"""The protocol of a `Target` that wants `MCP`."""


class Target(NamedTuple):
    """`model` None stands for all models of the port, and for one that the body of an `ASK`, or of FEEDBACK, names.

    `protocol` is `wire.V1`, `wire.V2`, `wire.OPENAI`, `MCP`, or empty for MLflow's. `detail` is Allow's value, the path
    to redirect to, the version that is asked for, or the kind of request in OpenAI's dialect.
    """

    want: Want
    model: str | None = None
    detail: bytes = b""
    protocol: str = ""
