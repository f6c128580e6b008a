"""A request that is answered with an error before the model has seen it."""

from __future__ import annotations

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"


class Refusal(Exception):
    """The request cannot be scored; whoever catches this answers `status` and goes on.

    `code` is what ``error_code`` says, None for an answer in plain text (as MLflow gives for media types).
    `path` names the offending element, such as ``dataframe_split.data[3][1]``; empty where there is none.
    """

    def __init__(self, status: int, code: str | None, message: str, path: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.path = path
