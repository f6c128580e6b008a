"""`headrace package`: models, their locked environments and wheels, and a Dockerfile, in one directory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from headrace.cli.commands import Exampled
from headrace.cli.packaging import write_package
from headrace.cli.saying import say, say_json
from headrace.config.load import load_file, parse, read_document
from headrace.core.errors import UsageError
from headrace.core.identity import parse_model_uri, served_name
from headrace.telemetry.logs import make_log

_FIRST_PORT = 5001
_REGISTRY_S = 60.0


@click.command(
    "package",
    cls=Exampled,
    examples=(
        "headrace package -m models:/classification@production -o news",
        "headrace package --config headrace.yaml -o news",
    ),
)
@click.option("-m", "--model-uri", "uris", metavar="URI", multiple=True, help="A model; can be repeated.")
@click.option("-c", "--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="A headrace.yaml.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="A new directory.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
@click.option("--json", "as_json", is_flag=True, help="For scripts: one JSON object.")
def command(uris: tuple[str, ...], file: Path | None, output: Path, log_level: str, as_json: bool) -> None:  # noqa: FBT001
    """Write a directory from which models are served without a registry and without a package index.

    It holds the models, the wheels of the environments that they were trained in with locks (versions and hashes), a
    headrace.yaml and a Dockerfile. `headrace serve --config DIR/headrace.yaml` and `docker build DIR` need no more.
    """
    if bool(uris) == (file is not None):
        raise UsageError("give models by -m URI, or a file by --config FILE")
    log = make_log("auto", log_level)
    if file:
        config = load_file(file)
        document = read_document(file)
    else:
        document = _document(uris)
        config = parse({**document, "registry": {"timeout_s": _REGISTRY_S}})
    write_package(config, document, output.absolute(), os.environ, log)
    told = json.loads((output / "package.json").read_text(encoding="utf-8"))["models"]
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    if as_json:
        say_json({"directory": str(output), "size_bytes": size, "models": told})
        return
    for name, model in told.items():
        say(f"{name}: {model['version']}, Python {model['python']}, {model['packages']} packages")
    say(f"{output}: {size / 1e6:,.0f} MB; serve it with: headrace serve --config {output / 'headrace.yaml'}")


def _document(uris: tuple[str, ...]) -> dict[str, Any]:
    """The configuration for these models, each on a port of its own from 5001 on, open to a container's network."""
    models: dict[str, Any] = {}
    for number, uri in enumerate(uris):
        name = served_name(parse_model_uri(uri))
        if name in models:
            raise UsageError(f"two of the models would be called {name}: package them by a --config FILE")
        models[name] = {"uri": uri, "port": _FIRST_PORT + number}
    return {"gateway": {"host": "0.0.0.0"}, "models": models}  # noqa: S104 - a container's ports are published by choice
