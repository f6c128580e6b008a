"""How much is remembered of the kinds of requests that a model has seen: clients can make up any number of any size."""

from __future__ import annotations

from typing import Any

MAX_CHARACTERS = 4_000_000
"""Of all texts in what is remembered in one place, each counted with a few for its object."""

_OBJECT = 16


class Allowance:
    """Counts what is remembered: at most `kinds` keys with at most MAX_CHARACTERS in their texts."""

    def __init__(self, kinds: int) -> None:
        self._kinds = kinds
        self._characters = MAX_CHARACTERS

    def take(self, key: tuple[Any, ...]) -> bool:
        """Whether `key` may be remembered; counted if so."""
        characters = _characters(key)
        if self._kinds <= 0 or characters > self._characters:
            return False
        self._kinds -= 1
        self._characters -= characters
        return True


def _characters(key: Any) -> int:
    if isinstance(key, tuple):
        return _OBJECT + sum(map(_characters, key))
    return _OBJECT + len(key) if isinstance(key, str) else _OBJECT
