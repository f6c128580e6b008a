"""Text of others for rich's tables and lines. Apart from `saying`: a health check does without rich."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

from headrace.core.escaping import printable

_UNBOUND = 4096


def console() -> Console:
    """What tables are printed on: as wide as the terminal; into a pipe or a file goes a line a row, however long."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _UNBOUND)


def plain(text: str, style: str = "") -> Text:
    """Text for a table or a line: without markup, whatever brackets it holds."""
    return Text(printable(text), style=style)
