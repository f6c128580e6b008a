"""What click lacks: examples below a command's help, and 'did you mean' for the names of commands."""

from __future__ import annotations

import difflib
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
        write_examples(formatter, self.examples)


class Suggesting(click.Group):
    """A group that answers the name of no command with those that it may have been meant for."""

    command_class = Exampled

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; raises click's UsageError where there is none."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            names = self.list_commands(ctx)
            near = difflib.get_close_matches(args[0].lower(), names, n=3, cutoff=0.6)
            near = near or [name for name in names if name.startswith(args[0].lower())]
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are: {', '.join(names)}"
            raise click.UsageError(f"no command {args[0]!r}; {hint}", ctx) from None


def write_examples(formatter: click.HelpFormatter, lines: tuple[str, ...]) -> None:
    """Write lines to paste, as they are."""
    if lines:
        with formatter.section("Examples"):
            for line in lines:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
