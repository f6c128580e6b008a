"""`headrace cluster`: what serves on several machines. `headrace serve` with `cluster:` in its file begins it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from headrace.cli.commands import Exampled
from headrace.cli.saying import say, say_json, say_marked
from headrace.cluster import asking
from headrace.cluster.order import Order
from headrace.config.changes import plan
from headrace.config.load import load_file
from headrace.config.tree import Config
from headrace.core.errors import UsageError

_ADDRESS = click.option(
    "--address", default="auto", show_default=True, metavar="HOST:PORT",
    help="Ray's; auto: what RAY_ADDRESS says, or the Ray that runs on this machine.",
)  # fmt: skip
_JSON = click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object.")
_MARKS = {"serving": ("✓", "green"), "failed": ("✗", "red")}


@click.group("cluster")
def command() -> None:
    """See and change what serves on a Ray cluster; 'headrace serve --config FILE' begins it."""


@command.command("status", cls=Exampled, examples=("headrace cluster status", "headrace cluster status --json"))
@_JSON
@_ADDRESS
def status(as_json: bool, address: str) -> None:  # noqa: FBT001 - click's flag
    """Show each node, and whether its headrace serves."""
    found = asking.status(address)
    if as_json:
        say_json(found)
        return
    say(f"{len(found['nodes'])} nodes, configuration {found['generation']}, headrace {found['headrace']}")
    for node in found["nodes"]:
        tell_node(node)


@command.command(
    "drain", cls=Exampled, examples=("headrace cluster drain 10.0.0.2", "headrace cluster drain 10.0.0.2 --undo")
)
@click.argument("node")
@click.option("--undo", is_flag=True, help="Have it serve again.")
@_JSON
@_ADDRESS
def drain(node: str, undo: bool, as_json: bool, address: str) -> None:  # noqa: FBT001 - click's flags
    """Have the node with the address NODE answer what it was asked, and serve nothing more; wait until it has.

    It stays so, also when it is started again, until --undo.
    """
    asking.drain(address, node, out=not undo)
    if as_json:
        say_json({"node": node, "drained": not undo})
    else:
        say(f"{node}: {'serves again' if undo else 'serves nothing any more'}")


@command.command("down", cls=Exampled, examples=("headrace cluster down",))
@_JSON
@_ADDRESS
def down(as_json: bool, address: str) -> None:  # noqa: FBT001 - click's flag
    """Have every node answer what it was asked, then end headrace on the cluster; Ray goes on."""
    count = asking.down(address)
    if as_json:
        say_json({"nodes": count})
    else:
        say(f"headrace has ended on {count} nodes")


def tell_node(node: dict[str, Any]) -> None:
    """Print one line about a node."""
    mark, colour = _MARKS.get(node["state"], ("·", "yellow"))
    told = f": {node['told']}" if node["told"] else ""
    say_marked(mark, colour, f"{node['address']}  {node['state']}{told}")


def check_change(order: Order, after: Config, file: Path) -> None:
    """Raise UsageError where a cluster that serves `order` cannot go over to `after`, which `file` says."""
    if order.folder != str(file.absolute().parent):
        raise UsageError(
            f"{file}: the cluster serves a file from {order.folder}, where its relative paths start: put it there, or "
            "end the cluster first with 'headrace cluster down'"
        )
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".yaml") as former:
        former.write(order.text)
        former.flush()
        try:
            before = load_file(Path(former.name), folder=Path(order.folder))
        except UsageError:
            return  # such as a variable that is not there any more: the nodes say what comes of the new file
    if refused := plan(before, after).refused:
        names = ", ".join(change.setting for change in refused)
        raise UsageError(
            f"{file}: {names}: cannot change while the cluster serves; nothing was changed: take that back, or end the "
            "cluster first with 'headrace cluster down'"
        )
