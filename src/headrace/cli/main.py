"""The `headrace` command: one subcommand a file, imported only when it is used."""

from __future__ import annotations

import importlib
import os
import sys

import click

from headrace import __version__
from headrace.cli.start import restore
from headrace.core.errors import HeadraceError, UsageError
from headrace.core.escaping import printable_lines

_COMMANDS = {
    "env": "List, build, check and remove the environments that models were trained in.",
    "check": "See whether served models are well.",
    "config": "Check a headrace.yaml, show it with all defaults, or print its JSON Schema.",
    "package": "Write models and their environments into a directory that needs no registry.",
    "predict": "Predict with a served model, or with one in this process.",
    "serve": "Serve models from an MLflow Model Registry.",
    "status": "Show what serves.",
    "history": "Show what served a model when, and why it changed.",
    "log": "Read a model's prediction log: follow it, or see its labels drift.",
    "refresh": "Ask the registry now.",
    "rollback": "Go back to the version before.",
}


class _Lazy(click.Group):
    """A group whose commands are imported when they run: `headrace --help` costs nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"headrace.cli.{cmd_name}").command
        if cmd_name != "serve":  # which goes on ending at once, until it has a loop that can end it in order
            restore()
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="headrace")
def cli() -> None:
    """Serve models from an MLflow Model Registry: fast, without downtime, each as it was trained."""


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 the command or its configuration is wrong."""
    try:
        cli(standalone_mode=False)
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
