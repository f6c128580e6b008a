"""Says what is being done: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from rich.console import Console


class Steps(Protocol):
    """Hears of steps."""

    def step(self, title: str) -> AbstractContextManager[None]:
        """A step that lasts as long as the context."""


class Progress:
    """Counts `steps` steps on a console, each announced when it begins and timed when it has ended."""

    def __init__(self, console: Console, *, steps: int) -> None:
        self._console = console
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            # What libraries print while a step runs is none of our lines.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=steps)
        self._open: list[str] = []

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the live line inside; leaves nothing behind but the finished steps."""
        with self._bar:
            yield

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step; when it ends well, say how long it took. An exception passes unreported."""
        self.begun(title)
        begun_s = time.monotonic()
        yield
        self.ended(title, time.monotonic() - begun_s)

    def begun(self, title: str) -> None:
        """A step begins; another may be under way."""
        self._open.append(title)
        self._bar.update(self._task, description=title)
        if not self._console.is_terminal:
            self._console.print(title, markup=False, highlight=False, soft_wrap=True)

    def ended(self, title: str, took_s: float) -> None:
        """A step that has begun has ended."""
        self._open.remove(title)
        if self._open:
            self._bar.update(self._task, description=self._open[-1])
        if self._console.is_terminal:
            told = Text.assemble(("done ", "green"), title, (f" {took_s:.1f} s", "dim"))
            self._console.print(told, highlight=False)
        self._bar.advance(self._task)
