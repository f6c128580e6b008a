"""What a worker says of an exception that its model raised: see `headrace_worker.scoring.errors.failures`."""

from __future__ import annotations

import msgspec

from headrace.core.protocol.messages import Failure


class Raised(msgspec.Struct):
    """One kind of failure: the exception's type, the file and line that raised it, its text, its traceback.

    `places` are the failed requests' positions in their frame. The traceback comes once for each kind and worker.
    """

    type: str = ""
    where: str = ""
    text: str = ""
    traceback: str = ""
    places: list[int] = []

    def __str__(self) -> str:
        """The last line of the traceback, as Python writes it."""
        return f"{self.type}: {self.text}" if self.text else self.type

    def failure(self, status: int, error_code: str = "") -> Failure:
        """The same as the failure of one request with this answer, which no client has sent."""
        return Failure(
            type=self.type,
            where=self.where,
            text=self.text,
            traceback=self.traceback,
            status=status,
            error_code=error_code,
        )


class _Notes(msgspec.Struct):
    failures: list[Raised] = []


_notes = msgspec.json.Decoder(_Notes)


def raised_in(notes: bytes) -> list[Raised]:
    """What a frame's notes say that the model raised; notes that are not understood say nothing."""
    try:
        return _notes.decode(notes).failures
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
