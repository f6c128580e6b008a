"""The screen at the end of a start: what runs, where, and commands to paste."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from headrace.supervisor.app import Supervisor
    from headrace.supervisor.models import ServedModel

_MOST_EXAMPLE_BYTES = 400
_NO_EXAMPLE = '{"inputs": []}'


def url(address: tuple[str, int] | None) -> str | None:
    """An address as a URL that can be pasted: a wildcard host becomes the loopback one."""
    if address is None:
        return None
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address[0], address[0])  # noqa: S104 - it is replaced
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{address[1]}"


def show(supervisor: Supervisor, console: Console | None = None) -> None:
    """Print the screen on standard output; lines to paste are never wrapped."""
    console = console or Console(soft_wrap=True, highlight=False)
    console.print()
    width = max(map(len, [*supervisor.models, "admin"]))
    for name, model in supervisor.models.items():
        where = _where(supervisor, name)
        if model.ready and model.current:
            mark, text = "[green]●[/]", f"{model.current.label} on [bold]{where}[/]"
        else:
            mark, text = "[red]●[/]", Text(f"does not serve: {model.why_not()}").markup
        console.print(f"  {mark} {name:<{width}}  {text}")
    admin = url(supervisor.admin_address)
    if admin:
        console.print(f"  [dim]●[/] {'admin':<{width}}  {admin}/api/models")
    console.print("\n[dim]# try it[/]")
    for name, model in supervisor.models.items():
        if model.ready:
            console.print(_curl(f"{_where(supervisor, name)}/invocations", _example(model)), markup=False)
    registry = supervisor.config.registry.tracking_uri
    if registry:
        console.print("[dim]# see the registry[/]")
        console.print(_look(registry), markup=False)
    console.print("\n[dim]Ctrl-C finishes what is in flight and stops everything.[/]")


def _where(supervisor: Supervisor, name: str) -> str:
    own = url(supervisor.address(name))
    return own or f"{url(supervisor.address(None))}/models/{name}"


def _curl(address: str, body: str) -> str:
    return f"curl {address} -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def _example(model: ServedModel) -> str:
    """The model's own example as a request body: one row where it is a table of one column, else as it was logged."""
    stored = model.current.stored if model.current else None
    try:
        text = Path(stored.path if stored else "", "serving_input_example.json").read_text(encoding="utf-8")
        example = json.loads(text)
        table = example.get("dataframe_split", {})
        if len(table.get("columns", ())) == 1 and table.get("data"):
            example = {"instances": table["data"][0]}
        body = json.dumps(example)
    except (OSError, ValueError, AttributeError, TypeError, IndexError):
        return _NO_EXAMPLE
    return body if len(body) <= _MOST_EXAMPLE_BYTES else _NO_EXAMPLE


def _look(registry: str) -> str:
    if registry.startswith(("http://", "https://")):
        return f"# open {registry}"
    return f"mlflow ui --backend-store-uri {shlex.quote(registry)} --port 5000"
