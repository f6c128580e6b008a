"""The one error tree: every failure that headrace reports has a code.

`code` is what `error_code` says in an answer's body (MLflow's names where MLflow has one, so that its clients
understand it). `HTTP_STATUS` is the only place where a code becomes a status. The gateway answers with codes alone: an
exception for each request that is refused would cost it more than the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

HTTP_STATUS: dict[str, int] = {
    "BAD_REQUEST": 400,
    "INVALID_PARAMETER_VALUE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "REQUEST_TIMEOUT": 408,
    "CONFLICT": 409,
    "BODY_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "EXPECTATION_FAILED": 417,
    "UNKNOWN_HOST": 421,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "HEADERS_TOO_LARGE": 431,
    "INTERNAL_ERROR": 500,
    "MODEL_ERROR": 500,
    "STREAM_TOO_LONG": 500,
    "WORKER_DIED": 500,
    "OVERLOADED": 503,
    "TEMPORARILY_UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class HeadraceError(Exception):
    """Something that headrace can name. The message says what, where, and what to do next."""

    code: str = "INTERNAL_ERROR"

    @property
    def status(self) -> int:
        """The HTTP status of this error's code."""
        return HTTP_STATUS[self.code]


class UsageError(HeadraceError):
    """The command, the configuration or the environment it names is wrong: exit code 2, one line, no traceback."""

    code = "INVALID_PARAMETER_VALUE"


class ConfigError(UsageError):
    """A configuration file says something that headrace refuses; `path` is where, such as ``models.topic.port``."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path


class Problem(NamedTuple):
    """One thing that is wrong in a configuration. `path` is where in the tree, `line` (from 1) where in the file."""

    path: str
    says: str
    line: int | None = None


class ConfigErrors(ConfigError):
    """All that is wrong in one configuration, at least one thing; `path` is the first one's.

    One line for each: `file` (where there is one), line, path, and what to do.
    """

    def __init__(self, problems: Sequence[Problem], file: str | None = None) -> None:
        lines = []
        for path, says, line in problems:
            place = "" if file is None else f"{file}: " if line is None else f"{file}:{line}: "
            lines.append(f"{place}{path}: {says}" if path else f"{place}{says}")
        if len(lines) > 1:
            lines.insert(0, f"{file or 'the configuration'}: {len(problems)} mistakes")
        super().__init__("", "\n".join(lines))
        self.path = problems[0].path
        self.problems = tuple(problems)


class RegistryError(HeadraceError):
    """The registry could not be asked; the same question may be answered later."""

    code = "TEMPORARILY_UNAVAILABLE"


class ModelNotFound(UsageError):
    """The registry answered, and knows no such model, version, alias or stage."""

    code = "NOT_FOUND"


class ModelLoadError(HeadraceError):
    """A version could not be brought up; the reason is the worker's."""

    code = "MODEL_ERROR"


class RequirementRefused(HeadraceError):
    """The environment that a model records is not understood, or asks for what the configuration does not allow."""

    code = "MODEL_ERROR"


class InterpreterMissing(HeadraceError):
    """No interpreter of the Python version that a model was trained with is on this machine."""

    code = "MODEL_ERROR"


class EnvironmentBuildFailed(HeadraceError):
    """An environment could not be built: an index away, a version that is not there, a full disk; later it may be."""

    code = "MODEL_ERROR"


class EnvironmentMismatch(HeadraceError):
    """The environment that a version would run in is not the one it asks for, and that is not accepted."""

    code = "MODEL_ERROR"
