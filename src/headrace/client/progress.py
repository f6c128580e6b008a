"""A progress bar on the standard error, for those who ask for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def shown(wanted: bool | Callable[[int], None], rows: int | None) -> Iterator[Callable[[int], None]]:  # noqa: FBT001
    """Yield what is to be told of each batch of rows that is done: a bar, the caller's own function, or nothing."""
    if callable(wanted):
        yield wanted
    elif not wanted:
        yield lambda _rows: None
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("predicting"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rows"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("rows", total=rows)
            yield lambda more: bar.advance(task, more)
