"""Writes a directory from which models are served without a registry and without a package index."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from headrace import __version__
from headrace.cli.fetching import fetch_models
from headrace.config import environment
from headrace.config.tree import Config
from headrace.core.errors import UsageError
from headrace.core.identity import safe_name
from headrace.core.processes.inheriting import for_builder
from headrace.environments.building import lock_file
from headrace.environments.preparing import Environments
from headrace.environments.store import Environment
from headrace.environments.wheels import gather
from headrace.telemetry.logs import Log

_CONFIG = "headrace.yaml"
_HEAD = """\
# Written by `headrace package`: serves without a registry and without a package index.
#     headrace serve --config {name}        in this directory, or anywhere with its path
#     docker build -t NAME .                as an image with the environments built
"""
_DOCKERFILE = f"""\
# Models with their environments in an image: `docker build -t NAME .` in this directory. Nothing is fetched but
# headrace's own image, the base: --build-arg HEADRACE=registry.example.com/headrace:{__version__} names another one.
ARG HEADRACE=headrace:{__version__}

FROM ${{HEADRACE}} AS environments
COPY --chown=10001:10001 . /opt/package
WORKDIR /opt/package
RUN HEADRACE_HOME=/opt/package/.built UV_CACHE_DIR=/tmp/uv headrace env build --config {_CONFIG} \\
    && mv .built/envs prebuilt

FROM ${{HEADRACE}}
COPY --from=environments --chown=10001:10001 /opt/package/prebuilt /opt/package/prebuilt
COPY --chown=10001:10001 models /opt/package/models
COPY --chown=10001:10001 {_CONFIG} package.json /opt/package/
ENV HEADRACE_CONFIG=/opt/package/{_CONFIG}
"""


def write_package(config: Config, document: dict[str, Any], into: Path, environ: Mapping[str, str], log: Log) -> None:
    """Make the directory `into` with the models of `config`, their environments' wheels and locks, and a Dockerfile.

    `document` is the configuration as it was written; what it says of a model is kept, but where it comes from. Raises
    UsageError where the configuration needs a registry while it serves, and what fetching and building raise; nothing
    is left then.
    """
    _refuse(config)
    if into.exists() and any(into.iterdir()):
        raise UsageError(f"{into} is not empty: give the directory for the package a new name")
    brought = asyncio.run(_bring(config, environ, log))
    into.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=into.parent, prefix=f".{into.name}-"))
    try:
        _fill(staging, config, document, brought, environ, log)
        if into.exists():
            into.rmdir()
        staging.rename(into)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


class _Brought(NamedTuple):
    """A model's label and directory, and its own environment."""

    label: str
    path: Path
    environment: Environment


async def _bring(config: Config, environ: Mapping[str, str], log: Log) -> dict[str, _Brought]:
    found = await fetch_models(config, [m.uri for m in config.models.values()], environ, log)
    environments = Environments(environment.home(config.home, environ), config.environments, environ)
    brought = {}
    for name, model in config.models.items():
        label, path = found[model.uri]
        # Built here, so that what is packaged is known to go together.
        prepared = await environments.prepare(path, "exact", model.environment_mismatch, log.bind(model=name))
        built = environments.store.find(prepared.digest or "")
        if built is None:
            raise AssertionError("an exact environment was prepared")
        brought[name] = _Brought(label, path, built)
    return brought


def _fill(
    into: Path,
    config: Config,
    document: dict[str, Any],
    brought: dict[str, _Brought],
    environ: Mapping[str, str],
    log: Log,
) -> None:
    told: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for name, (label, path, built) in brought.items():
        model = config.models[name]
        if not lock_file(into / "wheels", built.digest).exists():  # else another model has the same environment
            log.info("gathering wheels", model=name, environment=built.digest, packages=len(built.packages))
            variables = for_builder(environ, config.environments.pass_env)
            gather(built, path, into / "wheels", variables, sources=config.environments.source_builds)
        # The last part of the path is the version that clients, metrics and the status name.
        place = Path("models") / name / safe_name(label.rpartition("/")[2])
        shutil.copytree(path, into / place)
        models[name] = _entry(document["models"][name], place, model.checks.file, into, name)
        told[name] = {
            "uri": model.uri,
            "version": label,
            "environment": built.digest,
            "python": built.python,
            "packages": len(built.packages),
        }
    settings = {**(document.get("environments") or {}), "wheels": "wheels", "prebuilt": "prebuilt"}
    settings.pop("interpreters", None)  # this machine's
    kept = {k: v for k, v in document.items() if k not in {"registry", "home", "models", "environments"}}
    text = yaml.safe_dump({**kept, "environments": settings, "models": models}, sort_keys=False, allow_unicode=True)
    (into / _CONFIG).write_text(_HEAD.format(name=_CONFIG) + text, encoding="utf-8")
    (into / "Dockerfile").write_text(_DOCKERFILE, encoding="utf-8")
    manifest = {"headrace": __version__, "models": told}
    (into / "package.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    _open_to_readers(into)


def _refuse(config: Config) -> None:
    if config.wildcard is not None:
        raise UsageError("models '*' come and go with a registry: name the models to be packaged")
    for name, model in config.models.items():
        for key, value in (("traffic", model.traffic), ("shadow", model.shadow)):
            if value is not None:
                raise UsageError(f"models.{name}.{key} needs a registry while it serves: a package holds one version")


def _entry(written: dict[str, Any], place: Path, checks: str | None, into: Path, name: str) -> dict[str, Any]:
    entry = {**written, "uri": str(place), "environment": "exact"}
    if checks is not None:
        copy = Path("checks") / f"{name}.jsonl"
        (into / copy).parent.mkdir(exist_ok=True)
        shutil.copyfile(checks, into / copy)
        entry["checks"] = {**written["checks"], "file": str(copy)}
    return entry


def _open_to_readers(root: Path) -> None:
    """Headrace's own copies are private; a package is made to be handed on."""
    for folder, _, names in os.walk(root):
        Path(folder).chmod(0o755)
        for name in names:
            Path(folder, name).chmod(0o644)
