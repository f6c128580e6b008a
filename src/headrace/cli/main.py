"""The `headrace` command: one subcommand a file, imported only when it is used."""

from __future__ import annotations

import importlib
import os
import sys

import click
from click.shell_completion import CompletionItem

from headrace import __version__
from headrace.cli.commands import Suggesting, write_examples
from headrace.cli.start import restore
from headrace.core.errors import HeadraceError, UsageError
from headrace.core.escaping import printable_lines
from headrace.keeper.kept import Kept

_COMMANDS = {
    "serve": "Serve models from an MLflow Model Registry.",
    "check": "See whether served models are well.",
    "status": "Show what serves.",
    "predict": "Predict with a served model, or with one in this process.",
    "errors": "Show what a model failed with, and where in its code.",
    "history": "Show what served a model when, and why it changed.",
    "rollback": "Go back to the version before, or to another that served well.",
    "promote": "Move the alias that a model follows to a version, in the registry.",
    "pause": "Change no version of a model, whatever the registry says.",
    "resume": "Follow the registry again.",
    "scale": "Have a model predict in more processes, or in fewer.",
    "refresh": "Ask the registry now.",
    "reload": "Have a running headrace read its file again, and do what has changed.",
    "diff": "Show what runs beside the file that headrace was started with.",
    "log": "Read a model's prediction log: follow it, or see its labels drift.",
    "config": "Check a headrace.yaml, show it with all defaults, or print its JSON Schema.",
    "key": "Make API keys for clients, list and revoke them.",
    "audit": "Check that nobody has changed the file of who changed what.",
    "env": "List, build, check and remove the environments that models were trained in.",
    "compile": "Say which models have a faster form, and prove it.",
    "cluster": "Show a cluster of several machines, empty a node, end it.",
    "package": "Write models and their environments into a directory that needs no registry.",
}
_FOLDERS = {
    **dict.fromkeys(("rollback", "promote", "pause", "resume", "scale", "refresh", "cluster"), "headrace.cli.orders"),
    **dict.fromkeys(("key", "audit"), "headrace.cli.security"),
}
_EXAMPLES = (
    "headrace serve -m models:/classification@production -p 5001",
    "headrace serve --config headrace.yaml",
    "headrace check localhost:5001",
    "headrace status --watch",
    "headrace COMMAND --help",
)


class _Lazy(Suggesting):
    """A group whose commands are imported when they run: `headrace --help` costs nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        write_examples(formatter, _EXAMPLES)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of commands without importing any."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=told) for name, told in _COMMANDS.items() if name.startswith(incomplete)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        folder = _FOLDERS.get(cmd_name, "headrace.cli")
        command: click.Command = importlib.import_module(f"{folder}.{cmd_name}").command
        if cmd_name != "serve":  # which goes on ending at once, until it has a loop that can end it in order
            restore()
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="headrace")
def cli() -> None:
    """Serve models from an MLflow Model Registry: fast, without downtime, each as it was trained."""


def main(kept: Kept | None = None) -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 the command or its configuration is wrong.

    `kept`: what a supervisor has of its keeper; None: there is none.
    """
    try:
        cli(standalone_mode=False, obj=kept)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except HeadraceError as error:
        click.echo(f"headrace: {printable_lines(str(error))}", err=True)
        forget_unwritable_output()
        sys.exit(2 if isinstance(error, UsageError) else 1)


def forget_unwritable_output() -> None:
    """What standard output has not taken, it does not take at exit: Python would say so again, with exit code 120."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
