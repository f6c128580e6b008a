"""`headrace refresh NAME`: ask the registry now."""

from __future__ import annotations

import click

from headrace.cli.admin_port import admin_option, call


@click.command("refresh")
@click.argument("name")
@admin_option
def command(name: str, admin: str) -> None:
    """Ask the registry now what model NAME should be, instead of at the next poll."""
    call(admin, f"/api/models/{name}/refresh", method="POST")
    click.echo(f"{name}: asking the registry; see 'headrace history {name}' for what came of it")
