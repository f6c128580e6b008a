"""`headrace promote NAME VERSION`: moves an alias in the registry, after asking."""

from __future__ import annotations

import sys

import click

from headrace.cli.admin_port import admin_option, order
from headrace.cli.commands import Exampled
from headrace.client.admin import AdminPort, call, model_path
from headrace.core.errors import UsageError
from headrace.core.escaping import printable_lines

_REGISTRY_S = 120.0


@click.command(
    "promote",
    cls=Exampled,
    examples=("headrace promote classification 7", "headrace promote classification 7 --yes    # in a script"),
)
@click.argument("name")
@click.argument("version")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object.")
@admin_option
def command(name: str, version: str, yes: bool, as_json: bool, admin: AdminPort) -> None:  # noqa: FBT001 - click's flags
    """Move the alias that model NAME follows to VERSION, in the registry: for everybody who uses the alias.

    The version is then brought up, checked and watched as any other. headrace needs the right to write to the registry.
    """
    model = call(admin, model_path(name))
    serves = model["current"]["label"] if model["current"] else "nothing"
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("it moves an alias in the registry: confirm with --yes")
        question = f"Move {model['uri']} to version {version} in the registry? {serves} serves now."
        click.confirm(printable_lines(question), abort=True, err=True)
    params = {"version": version, "from": serves} if model["current"] else {"version": version}
    order(admin, name, "promote", params, as_json=as_json, timeout_s=_REGISTRY_S)
