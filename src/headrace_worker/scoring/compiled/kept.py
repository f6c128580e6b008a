"""What a difference leaves behind: a file in headrace's home, for whoever looks, and for every other process.

It stands beside the copies of models, under the digest of the model's files: ``home/compiled/<digest>.json`` for
``home/models/<digest>``. While it is there no process uses a faster form of that version.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from typing import Any

_DIGEST = re.compile("[0-9a-f]{64}")
_MOST_BYTES = 1_000_000


def place(model_path: str) -> str | None:
    """Where a difference of the model in `model_path` is kept; None where that is no copy of headrace's own."""
    models, digest = os.path.split(os.path.abspath(model_path))
    if os.path.basename(models) != "models" or not _DIGEST.fullmatch(digest):
        return None
    return os.path.join(os.path.dirname(models), "compiled", f"{digest}.json")


def keep(file: str, difference: dict[str, Any]) -> bool:
    """Write a difference down, for its owner's eyes alone, if none is there yet; whether there is one now."""
    text = json.dumps({"time": time.time(), **difference}, indent=1, default=repr)[:_MOST_BYTES].encode()
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as opened:
            opened.write(text)
    return os.path.exists(file)
