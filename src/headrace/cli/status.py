"""`headrace status`: what serves, how well, as a table."""

from __future__ import annotations

import json
import time
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from headrace.cli.admin_port import admin_option, call

_WATCH_S = 1.0


@click.command("status")
@click.option("--watch", is_flag=True, help="Keep it live until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@admin_option
def command(watch: bool, as_json: bool, admin: str) -> None:  # noqa: FBT001 - click's flags
    """Show every model: its version, state, replicas, and what is wrong. Exit code 1 when one is not ready."""
    status = call(admin, "/api/models")
    if as_json:
        click.echo(json.dumps(status))
    elif watch:
        with Live(_table(status), screen=False, refresh_per_second=4) as live:
            while True:
                time.sleep(_WATCH_S)
                live.update(_table(call(admin, "/api/models")))
    else:
        Console(highlight=False).print(_table(status))
    if not all(model["ready"] for model in status["models"]):
        raise SystemExit(1)


def _table(status: dict[str, Any]) -> Table:
    table = Table("model", "port", "state", "version", "replicas", "note", box=None, header_style="bold")
    for model in status["models"]:
        current, candidate = model["current"], model["candidate"]
        colour = "green" if model["ready"] else "red"
        note = model["reason"] or model["problem"] or model["registry_problem"] or ""
        if candidate and current:
            note = f"bringing up {candidate['label']}: {candidate['state']}"
        if model["held"]:
            note = f"rolled back; {note}".rstrip("; ")
        table.add_row(
            model["name"],
            str(model["port"] or "shared"),
            f"[{colour}]{model['state']}[/]",
            current["label"] if current else "-",
            f"{model['replicas']['ready']}/{model['replicas']['wanted']}",
            note,
        )
    return table
