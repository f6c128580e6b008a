"""What a request wants, of whom, and in which protocol: what routing finds out and everybody else goes by."""

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


class Target(NamedTuple):
    """`model` None stands for all models of the port; `protocol` is `wire.V1`, `wire.V2`, or empty for MLflow's.

    `detail` is Allow's value, the path to redirect to, or the version that is asked for.
    """

    want: Want
    model: str | None = None
    detail: bytes = b""
    protocol: str = ""
