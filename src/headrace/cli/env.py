"""`headrace env`: the environments that models were trained in, looked at and made without serving anything."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from headrace.cli.commands import Suggesting
from headrace.cli.fetching import fetch_models
from headrace.cli.saying import say, say_json
from headrace.config import environment
from headrace.config.load import load_file
from headrace.config.registry import Registry
from headrace.config.tree import Config, Model
from headrace.core.environments.requirements import without_secrets
from headrace.core.errors import HeadraceError, UsageError
from headrace.core.identity import parse_model_uri
from headrace.environments.preparing import Environments
from headrace.environments.store import Environment, EnvironmentStore
from headrace.telemetry.logs import make_log

T = TypeVar("T")

_MB = 1_000_000
_DAY_S = 86_400
_REGISTRY_S = 60.0

_MODEL = click.option("-m", "--model-uri", "uris", metavar="URI", multiple=True, help="A model; can be repeated.")
_FILE = click.option("-c", "--config", "file", type=click.Path(path_type=Path), help="A headrace.yaml.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("env", cls=Suggesting)
def command() -> None:
    """List, build, check and remove the environments that models were trained in."""


@command.command("list", examples=("headrace env list",))
@_FILE
@_JSON
def list_(file: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Show every environment, the one used last first."""
    store = EnvironmentStore(_home(load_file(file) if file else Config()))
    found = store.all()
    if as_json:
        _print_json([_data(store, one) for one in found])
        return
    for one in found:
        used = "in use" if store.in_use(one.digest) else f"used {_ago(time.time() - store.used_s(one.digest))}"
        changed = "; changed after it was built" if one.changed else ""
        size = f"{one.size_bytes / _MB:,.0f} MB"
        packages = f"{len(one.packages)} packages"
        say(f"{one.digest}  Python {one.python:<8} {packages:>13}  {size:>9}  {used}  {_what(one)}{changed}")
    unfinished = store.unfinished()
    for digest in unfinished:
        say(f"{digest}  not whole: it is being built, or the one who built it was killed; prune removes it then")
    if not found and not unfinished:
        say(f"no environments in {store.root}")


@command.command("build", examples=("headrace env build -m models:/classification@production",))
@_MODEL
@_FILE
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
@_JSON
def build(uris: tuple[str, ...], file: Path | None, log_level: str, as_json: bool) -> None:  # noqa: FBT001
    """Build the environments of models, so that serving them later needs neither a resolver nor a network.

    With -m the recorded environment is built; with --config what each model's `environment` asks for.
    """
    config = _config(uris, file)
    log = make_log("auto", log_level)
    environments = Environments(_home(config), config.environments, os.environ)

    built: dict[str, dict[str, str | None]] = {}

    async def work() -> None:
        found = await fetch_models(config, [m.uri for m in config.models.values()], os.environ, log)
        for name, model in config.models.items():
            label, path = found[model.uri]
            try:
                prepared = await environments.prepare(
                    path, model.environment, model.environment_mismatch, log.bind(model=name)
                )
            except HeadraceError as error:
                built[label] = {"environment": None, "problem": str(error)}
                if not as_json:
                    say(f"{label}: {error}", err=True)
                continue
            built[label] = {"environment": prepared.digest, "problem": None}
            if not as_json:
                say(f"{label}: {prepared.digest or 'the running environment'}")

    _run(work())
    if as_json:
        _print_json(built)
    if any(one["problem"] is not None for one in built.values()):
        raise SystemExit(1)


@command.command("check", examples=("headrace env check --config headrace.yaml",))
@_MODEL
@_FILE
@_JSON
def check(uris: tuple[str, ...], file: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Compare what models require with the running environment and with their own; builds nothing.

    Exit code 1 when a model would not run as it was trained: the running environment differs, and its own is not built
    yet, or was changed since.
    """
    config = _config(uris, file)
    log = make_log("auto", "warning")
    environments = Environments(_home(config), config.environments, os.environ)
    found = _run(fetch_models(config, [m.uri for m in config.models.values()], os.environ, log))
    examined = {label: environments.examine(path) for label, path in found.values()}
    if as_json:
        _print_json({label: one.describe() for label, one in examined.items()})
    else:
        for label, one in examined.items():
            built = "not built yet" if one.own is None else "built, and differs" if one.own.mismatches else "built"
            own = f"{one.digest} is {built}" if one.digest else "cannot be built"
            say(f"{label}: the running environment {'fits' if one.fits else 'differs'}; its own {own}")
            for where, report in (("running", one.running), ("its own", one.own)):
                for finding in report.findings if report else ():
                    if finding.verdict != "ok":
                        say(
                            f"  {finding.package}: {finding.verdict} ({where}: {finding.found or '-'}, "
                            f"required: {finding.required})"
                        )
            if one.problem:
                say(f"  {one.problem}")
    if not all(one.as_trained for one in examined.values()):
        raise SystemExit(1)


@command.command("prune", examples=("headrace env prune --max-age-days 30 --dry-run",))
@_FILE
@click.option("--max-age-days", type=click.FloatRange(min=0), help="Remove what was not used for so long.")
@click.option("--max-mb", type=click.FloatRange(min=0), help="Keep at most so much, the longest unused go first.")
@click.option("--all", "everything", is_flag=True, help="Remove every environment that is not in use.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@_JSON
def prune(
    file: Path | None,
    max_age_days: float | None,
    max_mb: float | None,
    everything: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Remove environments by age and size; what a running headrace uses stays."""
    config = load_file(file) if file else Config()
    days = config.environments.max_age_days if max_age_days is None else max_age_days
    most_bytes = config.environments.max_bytes if max_mb is None else int(max_mb * _MB)
    if everything:
        most_bytes = 0
    if days is None and most_bytes is None:
        raise UsageError("give --max-age-days, --max-mb or --all, or limits in the file's environments section")
    store = EnvironmentStore(_home(config))
    removed = store.prune(
        max_age_s=None if days is None else days * _DAY_S, max_bytes=most_bytes, dry_run=dry_run
    )  # fmt: skip
    if as_json:
        told = [{"digest": one.digest, "size_bytes": one.size_bytes} for one in removed]
        _print_json({"removed": told, "dry_run": dry_run})
        return
    for one in removed:
        say(f"{'would remove' if dry_run else 'removed'} {one.digest}  {one.size_bytes / _MB:,.0f} MB  {_what(one)}")
    if not removed:
        say("nothing to remove")


def _config(uris: tuple[str, ...], file: Path | None) -> Config:
    """The models to work on: those of the file, or one for each URI, in the environment that it records."""
    if bool(uris) == (file is not None):
        raise UsageError("give models by -m URI, or a file by --config FILE")
    if file:
        return load_file(file)
    for uri in uris:
        parse_model_uri(uri)
    # Nothing else waits for a command: give a slow registry the time that a server would not.
    registry = Registry(timeout_s=_REGISTRY_S)
    return Config(models={uri: Model(uri=uri, environment="exact") for uri in uris}, registry=registry)


def _home(config: Config) -> Path:
    return environment.home(config.home, os.environ)


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def _data(store: EnvironmentStore, one: Environment) -> dict[str, Any]:
    return {
        "digest": one.digest,
        "path": str(store.path(one.digest)),
        "python": one.python,
        "packages": {name: package.version for name, package in sorted(one.packages.items())},
        "requirements": _requirements(one),
        "size_bytes": one.size_bytes,
        "built": one.built_s,
        "changed": one.changed,
        "used": store.used_s(one.digest),
        "in_use": store.in_use(one.digest),
    }


def _requirements(one: Environment) -> list[str]:
    return [without_secrets(line) for line in one.spec.requirements.packages]


def _what(one: Environment) -> str:
    """Its first requirements, for people."""
    packages = _requirements(one)
    return ", ".join(packages[:4]) + (f", and {len(packages) - 4} more" if len(packages) > 4 else "")


def _ago(seconds: float) -> str:
    for unit, length_s in (("d", _DAY_S), ("h", 3600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds / length_s:.0f} {unit} ago"
    return "just now"


def _print_json(value: Any) -> None:
    say_json(msgspec.to_builtins(value), indent=2)
