"""What a model prints is read by the supervisor. When that has died nobody reads it, and printing goes on as before."""

from __future__ import annotations

import io
import sys
from typing import Any


class _Outliving(io.FileIO):
    """A descriptor that can be written to when its reader has gone: what is written is lost then."""

    def write(self, data: Any) -> Any:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def outlive_the_reader() -> None:
    """Have ``sys.stdout`` and ``sys.stderr`` raise nothing when the other end of their pipe is closed."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        before = getattr(sys, name)
        made = io.TextIOWrapper(
            _Outliving(fd, "w", closefd=False),  # as Python's own where it is unbuffered
            encoding=before.encoding,
            errors=before.errors,
            line_buffering=before.line_buffering,
            write_through=True,
        )
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)
