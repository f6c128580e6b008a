"""`headrace scale NAME REPLICAS`: more processes that predict, or fewer."""

from __future__ import annotations

from typing import Any

import click

from headrace.cli.admin_port import admin_option, order
from headrace.cli.commands import Exampled
from headrace.client.admin import AdminPort


class _Replicas(click.IntRange):
    """A number, or `auto`."""

    name = "number or auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        return value if value == "auto" else super().convert(value, param, ctx)


@click.command(
    "scale", cls=Exampled, examples=("headrace scale classification 4", "headrace scale classification auto")
)
@click.argument("name")
@click.argument("replicas", type=_Replicas(1, 1024))
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object.")
@admin_option
def command(name: str, replicas: int | str, as_json: bool, admin: AdminPort) -> None:  # noqa: FBT001 - click's flag
    """Have each version of model NAME predict in so many processes, until headrace is started anew.

    'auto' goes back to what is configured: where that follows the load, so do they again. Those that are too many
    finish what they have. 'replicas' in the configuration is what lasts; how many threads a process has follows from
    that, and does not change.
    """
    order(admin, name, "scale", {"replicas": str(replicas)}, as_json=as_json)
