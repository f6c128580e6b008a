"""`headrace reload`: a running headrace reads its file again, and does what has changed."""

from __future__ import annotations

import click

from headrace.cli.admin_port import admin_option
from headrace.cli.commands import Exampled
from headrace.cli.diff import show
from headrace.cli.saying import say, say_json
from headrace.client.admin import AdminPort, call
from headrace.core.errors import UsageError

_PATIENCE_S = 120.0


@click.command("reload", cls=Exampled, examples=("headrace reload --dry-run", "headrace reload"))
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object.")
@admin_option
def command(dry_run: bool, as_json: bool, admin: AdminPort) -> None:  # noqa: FBT001 - click's flags
    """Read the file that headrace was started with again, and do what has changed, and nothing else.

    The whole file is checked first. Where anything is wrong with it, or cannot change while headrace runs, nothing is
    done, and the exit code is 2. Models that need new processes are brought up beside what serves; 'headrace status'
    says what is pending.
    """
    found = call(admin, "/api/reload", method="GET" if dry_run else "POST", timeout_s=_PATIENCE_S)
    if as_json:
        say_json(found)
    elif found["changes"]:
        show(found["changes"])
    elif not found.get("problem"):
        say(f"{found['file']}: nothing has changed")
    if found.get("problem"):
        raise UsageError(found["problem"])
    for name, why in found["pending"].items() if not as_json and not dry_run else ():
        say(f"{name}: not in force yet: {why}")
