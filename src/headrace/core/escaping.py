r"""How text of others is shown: names of a registry, messages of a model, paths of a client may hold any character.

Used where text leaves headrace: by the log, the command line, the pages and numbers of the admin port, and the header
lines of answers. What moves a cursor, changes colours, begins another line or turns the direction of writing is shown
as Python writes it in a literal, such as ``\x1b``. Inside of headrace text is what it was.
"""

from __future__ import annotations

import json
import re
from typing import Any

_DOUBTFUL = re.compile(r"[^ -~]")
_CONTROLS = bytes({*range(0x20), 0x7F} - {0x09})
_WHITESPACE = b" \t"


def printable(text: str) -> str:
    """`text` as one line of printable characters: all others (`str.isprintable`) as escapes."""
    return text if text.isprintable() else _DOUBTFUL.sub(_shown, text)


def printable_lines(text: str) -> str:
    """The same for text of several lines: line feeds and tabs stay."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def printable_json(text: str) -> str:
    """JSON text of the same meaning in printable characters; the line feeds between values stay."""
    return text if text.isprintable() else _DOUBTFUL.sub(_shown_in_json, text)


def loads_encodable(text: bytes) -> Any:
    """JSON whose texts can be encoded: half a surrogate pair, which has no UTF-8, is a question mark.

    Raises ValueError for what is no JSON.
    """
    value = json.loads(text)
    if b"\\ud" in text.lower():
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return value


def header_value(text: str) -> bytes:
    """`text` as a field value (RFC 9110 5.5) of printable ASCII: all else as escapes, no blanks around it."""
    return printable(text).encode("ascii", "backslashreplace").strip(_WHITESPACE)


def header_bytes(value: bytes) -> bytes:
    """`value` as a field value (RFC 9110 5.5): without control characters, no blanks around it."""
    return value.translate(None, _CONTROLS).strip(_WHITESPACE)


def _shown(found: re.Match[str]) -> str:
    character = found[0]
    return character if character.isprintable() else repr(character)[1:-1]


def _shown_in_json(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable() or character == "\n":
        return character
    return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]
