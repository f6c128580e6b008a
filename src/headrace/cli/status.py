"""`headrace status`: what serves, how well, as a table."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlsplit

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headrace.cli.admin_port import AdminUnreachable, admin_option, call

_WATCH_S = 2.0
_RIGHT = ("port", "replicas", "req/s", "p50", "p99", "errors")


@click.command("status")
@click.option("--watch", is_flag=True, help="Keep it live until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="For scripts; with --watch one JSON object a line.")
@admin_option
def command(watch: bool, as_json: bool, admin: str) -> None:  # noqa: FBT001 - click's flags
    """Show every model: port, state, version, replicas, and requests/s, latency and errors of the last ten seconds.

    Exit code 0 when every model can answer, 1 when one cannot or nothing answers at the admin port, 2 when the command
    is wrong, 130 after Ctrl-C under --watch.
    """
    if watch:
        _watch(admin, as_json=as_json)
    status = call(admin, "/api/models")
    if as_json:
        click.echo(json.dumps(status))
    else:
        Console(highlight=False).print(_table(status))
    if not all(model["ready"] for model in status["models"]):
        raise SystemExit(1)


def _watch(admin: str, *, as_json: bool) -> None:
    """Show it until Ctrl-C, which ends the command with 130; an admin port that goes away is waited for."""
    status = call(admin, "/api/models")  # a wrong address is an error at once
    if as_json:
        while True:
            click.echo(json.dumps(status))
            time.sleep(_WATCH_S)
            status = call(admin, "/api/models")
    with Live(_table(status), console=Console(highlight=False), auto_refresh=False) as live:
        while True:
            time.sleep(_WATCH_S)
            shown: RenderableType
            try:
                shown = _table(status := call(admin, "/api/models"))
            except AdminUnreachable as error:
                shown = Group(_table(status), Text(f"\n{error}; trying again", style="red"))
            live.update(shown, refresh=True)


def _table(status: dict[str, Any]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("service", "port", "state", "version", "replicas", "req/s", "p50", "p99", "errors", "note"):
        table.add_column(column, justify="right" if column in _RIGHT else "left", no_wrap=column != "note")
    for model in status["models"]:
        current, now, replicas = model["current"], model["now"], model["replicas"]
        failing = bool(now["error_rate"])
        table.add_row(
            Text(model["name"]),
            _port(model),
            Text(model["state"], style="green" if model["ready"] else "red"),
            Text(current["label"] if current else "-"),
            f"{replicas['ready']}/{replicas['wanted']}",
            f"{now['requests_per_s']:,.1f}",
            _milliseconds(now["p50_ms"]),
            _milliseconds(now["p99_ms"]),
            Text("-" if now["error_rate"] is None else f"{now['error_rate']:.1%}", style="red" if failing else ""),
            Text(_note(model)),
        )
    return table


def _port(model: dict[str, Any]) -> str:
    if model["port"] is not None:
        return str(model["port"])
    shared = urlsplit(model["url"] or "").port
    return f"{shared} (shared)" if shared else "-"


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def _note(model: dict[str, Any]) -> str:
    current, candidate = model["current"], model["candidate"]
    if candidate and current:
        return f"bringing up {candidate['label']}: {candidate['state']}"
    note = str(model["reason"] or model["problem"] or model["registry_problem"] or "")
    return f"rolled back; {note}".rstrip("; ") if model["held"] else note
