"""Notices that the content of a file has changed: edited in place, replaced, or behind links that were changed.

A mounted ConfigMap is the last: its files are links through a link that is replaced. So the content is looked at, and
not the events of one directory.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

_LOOK_S = 1.0


class FileWatch:
    """`on_change` is called once for each content that stays for two looks: what is half written is not read.

    A file that is not there is waited for.
    """

    def __init__(self, file: Path, on_change: Callable[[], Awaitable[None]], look_s: float = _LOOK_S) -> None:
        self._file = file
        self._on_change = on_change
        self._look_s = look_s
        self._in_force = self._before = self._look()

    async def run(self) -> None:
        """Read the file at intervals, until cancelled."""
        while True:
            await asyncio.sleep(self._look_s)
            if self.saw(await asyncio.to_thread(self._look)):
                await self._on_change()

    def saw(self, content: bytes | None) -> bool:
        """Whether this content is new and was the same at the last look; None stands for no file."""
        is_news = content is not None and content == self._before and content != self._in_force
        self._before = content
        if is_news:
            self._in_force = content
        return is_news

    def _look(self) -> bytes | None:
        try:
            return hashlib.sha256(self._file.read_bytes()).digest()
        except OSError:
            return None
