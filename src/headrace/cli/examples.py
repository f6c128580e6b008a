"""Commands whose help ends with examples."""

from __future__ import annotations

from typing import Any

import click


class Exampled(click.Command):
    """A command with `examples`: lines to paste, shown as they are."""

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **others: Any) -> None:
        super().__init__(*args, **others)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples below the options."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
