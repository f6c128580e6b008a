"""Text of others for rich's tables and lines. Apart from `saying`: a health check does without rich."""

from __future__ import annotations

from rich.text import Text

from headrace.core.escaping import printable


def plain(text: str, style: str = "") -> Text:
    """Text for a table or a line: without markup, whatever brackets it holds."""
    return Text(printable(text), style=style)
