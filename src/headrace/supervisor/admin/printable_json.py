"""The admin port's JSON, in printable characters: people read it on terminals, and names and reasons are a model's."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse

from headrace.core.escaping import printable_json


class PrintableJSON(JSONResponse):
    """A JSON answer that a lone surrogate in a text does not make fail."""

    def render(self, content: Any) -> bytes:
        """Encode the content as UTF-8; a lone surrogate, which UTF-8 cannot have, stays an escape."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return printable_json(text).encode()
