"""`headrace status`: what serves, how well, as a table."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headrace.cli.admin_port import admin_option
from headrace.cli.commands import Exampled
from headrace.cli.rich_text import console, plain
from headrace.cli.saying import say_json
from headrace.client.admin import AdminPort, AdminUnreachable, call
from headrace.core.admin.left_out import by_reason

_WATCH_S = 2.0
_FIGURES = ("req/s", "p50", "p99", "errors")
_COLUMNS = ("service", "port", "state", "version", "replicas", *_FIGURES)
_NAMES = ("service", "version")
_RIGHT = ("port", "replicas", *_FIGURES)
_LEFT_OUT_FIRST = ("p50", "replicas", "port", "p99", "req/s")
_LEAST_NAME = 10
_LEAST_NOTE = 30


@click.command(
    "status",
    cls=Exampled,
    examples=("headrace status", "headrace status --watch", "headrace status --admin host:5100 --json"),
)
@click.option("--watch", is_flag=True, help="Keep it live until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="For scripts; with --watch one JSON object a line.")
@admin_option
def command(watch: bool, as_json: bool, admin: AdminPort) -> None:  # noqa: FBT001 - click's flags
    """Show every model: port, state, version, replicas, and requests/s, latency and errors of the last ten seconds.

    Aliases that take a share of a model's traffic, or a copy of it, have a line each below the model's.

    Exit code 0 when every model can answer and none fails most of its requests, 1 when one does not or nothing answers
    at the admin port, 2 when the command is wrong, 130 after Ctrl-C under --watch.
    """
    if watch:
        _watch(admin, as_json=as_json)
    status = call(admin, "/api/models")
    if as_json:
        say_json(status)
    else:
        out = console()
        out.print(table(status, out.width))
    if not all(model["ready"] and not model.get("failing") for model in status["models"]):
        raise SystemExit(1)


def _watch(admin: AdminPort, *, as_json: bool) -> None:
    """Show it until Ctrl-C, which ends the command with 130; an admin port that goes away is waited for."""
    status = call(admin, "/api/models")  # a wrong address is an error at once
    if as_json:
        while True:
            say_json(status)
            time.sleep(_WATCH_S)
            status = call(admin, "/api/models")
    out = Console(highlight=False)
    with Live(table(status, out.width), console=out, auto_refresh=False) as live:
        while True:
            time.sleep(_WATCH_S)
            told = ""
            try:
                status = call(admin, "/api/models")
            except AdminUnreachable as error:
                told = f"{error}; trying again"
            if len(status["models"]) >= out.height:
                status["models"].sort(key=lambda model: model["ready"])  # what is cut off is not what is down
            live.update(Group(table(status, out.width), plain(told, "red")), refresh=True)


def table(status: dict[str, Any], width: int) -> RenderableType:
    """All models, a line each, in `width` characters: names are folded, then columns left out and notes put below.

    Aliases that take a share of a model's traffic have lines below the model's.
    """
    rows, notes = {}, {}
    for model in status["models"]:
        rows[model["name"]], notes[model["name"]] = _row(model), plain(_note(model))
        for alias, side in model["sides"].items():
            name = f"{model['name']} @{alias}"
            rows[name], notes[name] = _side_row(name, model, side), plain(_side_note(side))
    fixed = [column for column in _COLUMNS if column not in _NAMES]
    needed = {c: max(len(c), *(len(row[c].plain) for row in rows.values()), 0) + 1 for c in fixed} if rows else {}
    left = width - 2 * _LEAST_NAME
    beside = width >= sum(needed.values()) + 2 * _LEAST_NAME + _LEAST_NOTE
    for column in _LEFT_OUT_FIRST:
        if sum(needed.values()) > left:
            needed.pop(column, None)
    made = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=True)
    shown = [c for c in _COLUMNS if c in _NAMES or c in needed or not rows]
    for column in shown:
        right = "right" if column in _RIGHT else "left"
        made.add_column(column, justify=right, no_wrap=column not in _NAMES, overflow="fold")  # type: ignore[arg-type] # a Literal
    if beside:
        made.add_column("note", overflow="fold")
    for name, row in rows.items():
        made.add_row(*(row[c] for c in shown), *([notes[name]] if beside else []))
    below = [] if beside else [plain(f"{name}: {note}") for name, note in notes.items() if note]
    below += [plain(f"warning: {one}", "yellow") for one in status.get("warnings") or ()]
    return Group(made, *below, *_left_out(status.get("wildcard") or {}))


def _left_out(wildcard: dict[str, Any]) -> list[Text]:
    """How many models of the registry are not served, which, and why."""
    left_out = wildcard.get("left_out") or {}
    if not left_out:
        return []
    count, served = len(left_out), len(wildcard["models"])
    others = ", and still others" if wildcard.get("more") else ""
    verb = "is" if count == 1 else "are"
    told = f"{count:,} of {count + served:,} models of {wildcard['uri']} {verb} left out{others}:"
    lines = [f"  {names}: {why}" for names, why in by_reason(left_out)]
    return [plain(line, "yellow") for line in (told, *lines)]


def _row(model: dict[str, Any]) -> dict[str, Text]:
    current, replicas = model["current"], model["replicas"]
    return {
        "service": plain(model["name"]),
        "port": Text(_port(model)),
        "state": Text(model["state"], style="green" if model["ready"] and not model.get("failing") else "red"),
        "version": plain(current["label"] if current else "-"),
        "replicas": Text(f"{replicas['ready']}/{replicas['wanted']}"),
        **_figures(model["now"]),
    }


def _side_row(name: str, model: dict[str, Any], side: dict[str, Any]) -> dict[str, Text]:
    current, candidate = side["current"], side["candidate"]
    label = current["label"] if current else side["resting"]
    ready, wanted = (current["ready"] if current else 0), model["replicas"]["wanted"]
    if label:
        state = Text("SERVING", style="green" if not current or ready else "red")
    elif candidate:
        state = Text(candidate["state"])
    else:
        state = Text("FAILED", style="red") if side["problem"] else Text("-")
    figures = model["now_by_version"].get(label) if current else None
    return {
        "service": plain(name),
        "port": Text(""),
        "state": state,
        "version": plain(label or "-"),
        "replicas": Text(f"{ready}/{wanted}" if current else "-"),
        **(_figures(figures) if figures is not None else dict.fromkeys(_FIGURES, Text("-"))),
    }


def _figures(now: dict[str, Any]) -> dict[str, Text]:
    errors = "-" if now["error_rate"] is None else f"{now['error_rate']:.1%}"
    return {
        "req/s": Text(f"{now['requests_per_s']:,.1f}"),
        "p50": Text(_milliseconds(now["p50_ms"])),
        "p99": Text(_milliseconds(now["p99_ms"])),
        "errors": Text(errors, style="red" if now["error_rate"] else ""),
    }


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
    """What operators have asked for, and what there is to know."""
    told = [word for word, is_so in (("paused", model.get("paused")), ("rolled back", model["held"])) if is_so]
    wanted, configured = model["replicas"]["wanted"], model["replicas"].get("configured")
    ordered, why = model["replicas"].get("ordered"), model["replicas"].get("why")
    was = f"{configured['min']} to {configured['max']}" if isinstance(configured, dict) else configured
    if ordered is not None and ordered != configured:
        told.append(f"scaled from {was} to {ordered} until a restart")
    elif why and isinstance(configured, dict) and wanted != configured["min"]:
        told.append(f"{wanted} of {was} replicas: {why}")
    news = _news(model)
    return "; ".join([*told, *([news] if news else [])])


def _news(model: dict[str, Any]) -> str:
    current, candidate, failing = model["current"], model["candidate"], model.get("failing")
    if failing:
        since = time.strftime("%H:%M:%S", time.localtime(failing["since"]))
        return f"failing since {since}: {failing['reason']}"
    if candidate and candidate.get("share"):
        return f"{candidate['label']} has {candidate['share']} % of the traffic; {_example(candidate)}".rstrip("; ")
    if candidate and current:
        return f"bringing up {candidate['label']}: {candidate['state']}"
    return _problem(model) or (_example(current) if current else "")


def _example(version: dict[str, Any]) -> str:
    """How it was checked, where it has no example of its own."""
    made_up = version.get("made_up_example")
    if made_up is None:
        return ""
    failed = made_up["failed"]
    return f"its made-up example failed: {failed}" if failed else "checked with a made-up example"


def _problem(model: dict[str, Any]) -> str:
    return str(model["reason"] or model["problem"] or model["registry_problem"] or "")


def _side_note(side: dict[str, Any]) -> str:
    """What the alias takes, and what is wrong with it."""
    takes = f"weight {side['weight']}" if side["weight"] else "a shadow" if side["shadow"] else "no traffic"
    if side["resting"]:
        return f"{takes}; the same version as another's, no processes of its own"
    current, candidate = side["current"], side["candidate"]
    news = f"bringing up {candidate['label']}: {candidate['state']}" if candidate and current else ""
    return f"{takes}; {news or side['problem'] or side['missing'] or side['registry_problem'] or ''}".rstrip("; ")
