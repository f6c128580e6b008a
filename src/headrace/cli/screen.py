"""The screen at the end of a start: what runs, where, and commands to paste."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from headrace.cli.rich_text import plain
from headrace.core.environments.requirements import without_secrets
from headrace.supervisor.admin.addresses import model_url, url
from headrace.supervisor.admin.examples import made_up, own_example

if TYPE_CHECKING:
    from headrace.supervisor.app import Supervisor
    from headrace.supervisor.served_model import ServedModel

_MLFLOW_PORT = 5000
_MOST_EXAMPLE_BYTES = 400
_NO_EXAMPLE = '{"inputs": []}'


def show(supervisor: Supervisor, console: Console | None = None) -> None:
    """Print the screen on standard output; lines to paste are never wrapped."""
    console = console or Console(soft_wrap=True, highlight=False)
    console.print()
    width = max(map(len, [*supervisor.models, "admin"]))
    for name, model in supervisor.models.items():
        where = model_url(supervisor, name)
        if model.current and model.answers.failing:
            why = plain(f" is failing: {model.answers.failing}")
            colour, text = "red", Text.assemble(plain(model.current.label), " on ", (str(where), "bold"), why)
        elif model.ready and model.current:
            colour, text = "green", Text.assemble(plain(model.current.label), " on ", (str(where), "bold"))
        else:
            colour, text = "red", plain(f"does not serve: {model.why_not()}")
        console.print(Text.assemble("  ", ("●", colour), f" {name:<{width}}  ", text))
    admin = url(supervisor.admin_address, tls=supervisor.config.admin_tls is not None)
    if admin:
        console.print(f"  [dim]●[/] {'admin':<{width}}  {admin}  [dim]dashboard, /metrics, /api/models[/]")
    console.print("\n[dim]# try it[/]")
    for name, model in supervisor.models.items():
        if model.ready:
            console.print(plain(_curl(f"{model_url(supervisor, name)}/invocations", _example(model))))
    registry = supervisor.config.registry.tracking_uri
    if registry:
        console.print("[dim]# see the registry[/]")
        console.print(plain(_look(without_secrets(registry), _free_port(supervisor))))
    console.print("\n[dim]Ctrl-C finishes what is in flight and stops everything.[/]")


def _curl(address: str, body: str) -> str:
    return f"curl {address} -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def _example(model: ServedModel) -> str:
    for example in (own_example(model), made_up(model)):
        body = json.dumps(example)
        if example is not None and len(body) <= _MOST_EXAMPLE_BYTES:
            return body
    return _NO_EXAMPLE


def _look(registry: str, port: int) -> str:
    if registry.startswith(("http://", "https://")):
        return f"# open {registry}"
    # The environment is seldom activated where this is pasted.
    beside = Path(sys.executable).with_name("mlflow")
    program = "mlflow" if shutil.which("mlflow") or not beside.exists() else str(beside)
    return f"{shlex.quote(program)} ui --backend-store-uri {shlex.quote(registry)} --port {port}"


def _free_port(supervisor: Supervisor) -> int:
    """MLflow's usual port, or the first behind it that we do not listen on ourselves."""
    addresses = (supervisor.admin_address, *map(supervisor.address, (None, *supervisor.models)))
    ours = {address[1] for address in addresses if address}
    return next(port for port in range(_MLFLOW_PORT, _MLFLOW_PORT + len(ours) + 1) if port not in ours)
