"""What has changed between two texts, by whole lines: a page that is shown again and again differs in a few.

Pure, and linear: a line of the new text is looked up among those of the old one, wherever it stood.
"""

from __future__ import annotations

from collections.abc import Sequence

Part = str | tuple[int, int]
"""New text of one or more lines, or (first, how many) lines of the old one."""


def delta(old: Sequence[str], new: Sequence[str]) -> list[Part]:
    """The parts that `new` is put together from, in order; `apply` is the other way."""
    place = {old[index]: index for index in reversed(range(len(old)))}
    parts: list[Part] = []
    fresh: list[str] = []
    for line in new:
        before = parts[-1] if parts and not fresh else None
        follows = before[0] + before[1] if isinstance(before, tuple) else -1
        # A line that is there several times is taken from where the one before it was taken.
        at = follows if 0 <= follows < len(old) and old[follows] == line else place.get(line)
        if at is None:
            fresh.append(line)
            continue
        if fresh:
            parts.append("\n".join(fresh))
            fresh = []
        if at == follows and isinstance(before, tuple):
            parts[-1] = (before[0], before[1] + 1)
        else:
            parts.append((at, 1))
    if fresh:
        parts.append("\n".join(fresh))
    return parts


def apply(old: Sequence[str], parts: Sequence[Part]) -> list[str]:
    """The new lines; what the dashboard's script does in the browser."""
    made: list[str] = []
    for part in parts:
        made += part.split("\n") if isinstance(part, str) else old[part[0] : part[0] + part[1]]
    return made
