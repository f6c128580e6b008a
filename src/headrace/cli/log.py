"""`headrace log tail` and `headrace log drift`: what a model was asked and what it answered."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from rich.table import Column, Table

from headrace.cli.admin_port import admin_option
from headrace.cli.commands import Suggesting
from headrace.cli.rich_text import console, plain
from headrace.cli.saying import say, say_json
from headrace.client.admin import AdminPort, call
from headrace.core.errors import UsageError
from headrace.core.telemetry.drift import OTHER, Drift, distance, labels_of
from headrace.recorder.entries import Entry
from headrace.recorder.reading import entries, tail

F = TypeVar("F", bound=Callable[..., Any])

_SHORT = 60
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@click.group("log", cls=Suggesting)
def command() -> None:
    """Read a model's prediction log."""


def _where(function: F) -> F:
    option = click.option(
        "--path", type=click.Path(path_type=Path), help="The log's directory [default: what the running headrace says]."
    )
    return option(admin_option(function))


@command.command("tail", examples=("headrace log tail classification -n 100 --no-follow",))
@click.argument("name")
@click.option("-n", "most", type=click.IntRange(min=0), default=10, show_default=True, help="How many to begin with.")
@click.option("--follow/--no-follow", default=True, help="Go on with what comes, across files [default: follow].")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@_where
def tail_command(name: str, most: int, follow: bool, as_json: bool, path: Path | None, admin: AdminPort) -> None:  # noqa: FBT001
    """Show the last predictions of model NAME, and each new one until Ctrl-C."""
    directory = _directory(name, path, admin)
    with _readable():
        for entry in tail(directory, name, most, follow=follow):
            if as_json:
                say_json(msgspec.to_builtins(entry))
            else:
                say(_line(entry))


@command.command("drift", examples=("headrace log drift classification --since 7d --steps 7",))
@click.argument("name")
@click.option("--since", default="24h", show_default=True, help="How far to look back: 30m, 24h, 7d.")
@click.option("--steps", type=click.IntRange(1, 24), default=6, show_default=True, help="Columns over time.")
@click.option("--labels", "most", type=click.IntRange(1, 100), default=10, show_default=True, help="Rows; rest: other.")
@click.option(
    "--member", help="Where the label is in predictions that are objects [default: label, prediction, class]."
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@_where
def drift_command(
    name: str,
    since: str,
    steps: int,
    most: int,
    member: str | None,
    as_json: bool,  # noqa: FBT001 - click's flag
    path: Path | None,
    admin: AdminPort,
) -> None:
    """Show the share of each label that model NAME predicts: over time, and each version against the one before."""
    directory = _directory(name, path, admin)
    span_s = _span(since)
    now_s = time.time()
    drift = Drift(span_s / steps)
    with _readable():
        for entry in entries(directory, name, since_s=now_s - span_s):
            at_s = dt.datetime.fromisoformat(entry.time).timestamp()
            if at_s >= now_s - span_s:
                for label in labels_of(entry.answer, member):
                    drift.add(at_s, entry.version, label)
    report = _report(name, drift, most)
    if as_json:
        say_json(report)
    elif not report["labels"]:
        say(f"headrace: no labels were predicted by '{name}' within {since} ({directory})", err=True)
    else:
        _print(report)


def _report(name: str, drift: Drift, most: int) -> dict[str, Any]:
    labels = drift.top_labels(most)
    steps = [
        {
            "from": dt.datetime.fromtimestamp(step * drift.step_s, dt.UTC).isoformat(),
            "predictions": tally.total,
            "shares": tally.shares(labels),
        }
        for step, tally in sorted(drift.by_time.items())
    ]
    versions: list[dict[str, Any]] = []
    for version, tally in drift.by_version.items():
        shares = tally.shares(labels)
        moved = distance(versions[-1]["shares"], shares) if versions else None
        versions.append({"version": version, "predictions": tally.total, "shares": shares, "distance": moved})
    return {"model": name, "labels": labels, "steps": steps, "versions": versions}


def _print(report: dict[str, Any]) -> None:
    out = console()
    columns = [dt.datetime.fromisoformat(s["from"]).astimezone().strftime("%m-%d %H:%M") for s in report["steps"]]
    out.print(_shares("over time", report["labels"], columns, report["steps"]))
    out.print()
    names = [version["version"] for version in report["versions"]]
    table = _shares("by version", report["labels"], names, report["versions"])
    moved = ["" if v["distance"] is None else f"{v['distance']:.1%}" for v in report["versions"]]
    table.add_row("changed from the one before", *moved)
    out.print(table)


def _shares(title: str, labels: list[str], columns: list[str], parts: list[dict[str, Any]]) -> Table:
    table = Table(title, *(Column(plain(column)) for column in columns), box=None, header_style="bold")
    rows = [*labels, *([OTHER] if OTHER not in labels and any(OTHER in part["shares"] for part in parts) else [])]
    for label in rows:
        table.add_row(plain(label[:_SHORT]), *(f"{part['shares'].get(label, 0.0):.1%}" for part in parts))
    table.add_row("predictions", *(str(part["predictions"]) for part in parts))
    return table


def _line(entry: Entry) -> str:
    at = dt.datetime.fromisoformat(entry.time).astimezone().strftime("%H:%M:%S")
    cached = f" {entry.cache}" if entry.cache else ""
    what = f"{_brief(entry.request)} -> {_brief(entry.answer)}"
    return f"{at} {entry.version} {entry.status} {entry.latency_s * 1000:.1f} ms{cached} {entry.request_id} {what}"


def _brief(value: Any) -> str:
    text = "-" if value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"


def _directory(name: str, path: Path | None, admin: AdminPort) -> Path:
    if path is not None:
        if not path.is_dir():
            raise UsageError(f"--path {path}: no such directory")
        return path
    told = call(admin, f"/api/models/{name}").get("prediction_log")
    if told is None:
        raise UsageError(f"model '{name}' has no prediction log; give it one: models.{name}.prediction_log")
    return Path(told["path"])


def _span(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not found or float(found[1]) <= 0:
        raise UsageError(f"--since {text}: expected a number and a unit, such as 30m, 24h or 7d")
    return float(found[1]) * _UNITS_S[found[2]]


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Say what reading meets in one line each; Ctrl-C is how following ends."""
    try:
        yield
    except ImportError:
        raise UsageError("the log has Parquet files: install headrace's extra 'parquet'") from None
    except PermissionError as error:
        raise UsageError(f"{error.filename}: {error.strerror}; the log is its owner's alone") from None
    except KeyboardInterrupt:
        raise click.exceptions.Exit(0) from None
