"""`headrace errors NAME`: what a model failed with, how often, and where in its code."""

from __future__ import annotations

import datetime as dt
from typing import Any

import click

from headrace.cli.admin_port import admin_option
from headrace.cli.commands import Exampled
from headrace.cli.saying import say, say_json
from headrace.client.admin import AdminPort, call, model_path


@click.command("errors", cls=Exampled, examples=("headrace errors classification",))
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object a line.")
@click.option("--traceback/--no-traceback", default=True, show_default=True, help="Show where it was raised, in full.")
@admin_option
def command(name: str, as_json: bool, traceback: bool, admin: AdminPort) -> None:  # noqa: FBT001 - click's flags
    """Show what model NAME failed with: up to 50 kinds of failures a version, the newest last.

    Two failures are of one kind where the same exception was raised at the same line. Kept until the version ends.
    """
    entries = call(admin, model_path(name, "errors"))
    if as_json:
        for entry in entries:
            say_json(entry)
        return
    if not entries:
        say(f"{name}: no version that is here has failed on a request")
    for entry in reversed(entries):
        _show(entry, traceback=traceback)


def _show(entry: dict[str, Any], *, traceback: bool) -> None:
    what = entry["exception"] or entry["error_code"] or f"status {entry['status']}"
    say(f"{entry['version']}: {what}{': ' + entry['text'] if entry['text'] else ''}", bold=True)
    times = "once" if entry["count"] == 1 else f"{entry['count']:,} times, the first {_moment(entry['first'])}"
    answered = f"answered with {entry['status']} {entry['error_code'] or ''}".rstrip()
    say(f"  {times}, the last {_moment(entry['last'])}, {answered}")
    if entry["where"]:
        say(f"  at {entry['where']}")
    if entry["request_ids"]:
        say(f"  request ids: {', '.join(entry['request_ids'])}")
    if traceback and entry["traceback"]:
        for line in entry["traceback"].rstrip().split("\n"):
            say(f"    {line}")


def _moment(at: float) -> str:
    return dt.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
