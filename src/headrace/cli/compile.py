"""`headrace compile`: whether models have a faster form, and what its proof says, without serving anything."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from headrace.cli.commands import Exampled
from headrace.cli.fetching import fetch_models
from headrace.cli.rich_text import console, plain
from headrace.cli.saying import say, say_json
from headrace.config import environment
from headrace.config.load import load_file
from headrace.config.registry import Registry
from headrace.config.tree import Config, Model
from headrace.core.errors import HeadraceError, UsageError
from headrace.core.identity import parse_model_uri
from headrace.environments.preparing import Environments, Prepared
from headrace.supervisor.processes.worker_environ import worker_environ
from headrace.supervisor.processes.zygote_process import WORKER
from headrace.telemetry.logs import make_log

_LOADS_S = 600.0
"""What loading a model may take, beside its proof."""

_REGISTRY_S = 60.0
_PROVED = "shadow"
_COLUMNS = ("model", "faster form", "rows proved", "one row", "was", "64 rows", "was")


@click.command(
    "compile",
    cls=Exampled,
    examples=("headrace compile -m models:/churn@production", "headrace compile --config headrace.yaml --json"),
)
@click.option("-m", "--model-uri", "uris", metavar="URI", multiple=True, help="A model; can be repeated.")
@click.option("-c", "--config", "file", type=click.Path(path_type=Path), help="A headrace.yaml: all of its models.")
@click.option("--local", is_flag=True, help="Use the running environment, whatever the model was trained in.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(uris: tuple[str, ...], file: Path | None, local: bool, as_json: bool) -> None:  # noqa: FBT001 - click's flags
    """Say which models would be answered by a faster form, prove it on generated input, and measure both.

    Each model is loaded in its own environment, as it would be to serve. Live rows, which a server compares as well,
    are not there: what is proved here would still be compared with the original on the first 1,000 of them.

    Exit codes: 0 every model has a faster form that is proved, 1 one has not, 2 the command is wrong.
    """
    if bool(uris) == (file is not None):
        raise UsageError("give models by -m URI, or a file by --config FILE")
    for uri in uris:
        parse_model_uri(uri)
    config = load_file(file) if file else Config(
        models={uri: Model(uri=uri) for uri in uris}, registry=Registry(timeout_s=_REGISTRY_S)
    )  # fmt: skip
    found = asyncio.run(_all(config, local=local))
    if as_json:
        say_json(found, indent=2)
    else:
        _show(found)
    raise SystemExit(0 if all(one["state"] == _PROVED for one in found.values()) else 1)


async def _all(config: Config, *, local: bool) -> dict[str, dict[str, Any]]:
    """By the models' labels what came of each."""
    log = make_log("auto", "warning")
    environments = Environments(environment.home(config.home, os.environ), config.environments, os.environ)
    found = await fetch_models(config, [model.uri for model in config.models.values()], os.environ, log)
    told: dict[str, dict[str, Any]] = {}
    for name, model in config.models.items():
        label, path = found[model.uri]
        try:
            policy = "local" if local else model.environment
            prepared = await environments.prepare(path, policy, model.environment_mismatch, log.bind(model=name))
            environ = prepared.environ(worker_environ(os.environ, model, config.registry.tracking_uri))
            told[label] = await asyncio.to_thread(_prove, prepared, environ, path, model)
        except (HeadraceError, OSError) as error:
            told[label] = _nothing(str(error))
    return told


def _prove(prepared: Prepared, environ: dict[str, str], path: Path, model: Model) -> dict[str, Any]:
    """What a process of the model's environment says of it. Its output goes to the standard error."""
    with tempfile.TemporaryDirectory(prefix="headrace-") as workplace:
        result = Path(workplace, "result.json")
        order = {"prove": str(path), "compile_s": model.compile_s, "result": str(result)}
        order["model_config"] = json.dumps(model.config) if model.config is not None else None
        limit_s = _LOADS_S + model.compile_s
        try:
            done = subprocess.run(
                [prepared.python, WORKER, json.dumps(order)],
                env=environ, cwd=workplace, stdin=subprocess.DEVNULL, stdout=2, timeout=limit_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return _nothing(f"its process has not ended within {limit_s:g} s")
        try:
            told: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            how = f"exit code {done.returncode}" if done.returncode >= 0 else f"signal {-done.returncode}"
            return _nothing(f"its process ended ({how}) before it could say anything")
    return told


def _nothing(reason: str) -> dict[str, Any]:
    return {"state": "none", "form": "", "reason": reason}


def _show(found: dict[str, dict[str, Any]]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for place, column in enumerate(_COLUMNS):
        table.add_column(column, justify="right" if place > 1 else "left", overflow="fold")
    for label, told in found.items():
        form = told["form"] if told["state"] == _PROVED else f"{told['state']}: {told['reason']}"
        times = [f"{told['us'][name]:,.0f} µs" if told.get("us") else "" for name in ("one", "one_was", "64", "64_was")]
        rows = f"{told['proved_rows']:,}" if told.get("proved_rows") else ""
        table.add_row(*map(plain, (label, form, rows, *times)))
    console().print(table)
    if any(told["state"] == "refused" for told in found.values()):
        say("refused: an answer of the faster form differed; the original answers, for good (docs/compiled.md)")
