"""Brings models from the registry once, for commands that do not serve them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path

from headrace.config import environment
from headrace.config.tree import Config
from headrace.core.identity import parse_model_uri
from headrace.registry.store import Store
from headrace.supervisor.processes.agent import RegistryAgent
from headrace.telemetry.logs import Log


async def fetch_models(
    config: Config, uris: Collection[str], environ: Mapping[str, str], log: Log
) -> dict[str, tuple[str, Path]]:
    """The label and the directory of the model that each URI points at now, fetched where that was not done before.

    A model in a local directory is read where it is. Raises UsageError for a URI that leads nowhere and RegistryError
    when the registry cannot be asked.
    """
    found = {uri: (uri, path) for uri in uris if (path := _directory(uri)) is not None}
    others = [uri for uri in dict.fromkeys(uris) if uri not in found]
    return {**found, **(await _from_registry(config, others, environ, log) if others else {})}


def _directory(uri: str) -> Path | None:
    named = parse_model_uri(uri).directory
    path = Path(named).expanduser().absolute() if named is not None else None
    return path if path is not None and (path / "MLmodel").is_file() else None


async def _from_registry(
    config: Config, uris: list[str], environ: Mapping[str, str], log: Log
) -> dict[str, tuple[str, Path]]:
    registry = config.registry
    environ = environment.in_workspace(environ, registry)
    key = environment.registry_key(registry, environ)
    home = environment.home(config.home, environ)
    settings = {
        "home": str(home),
        "registry_key": key,
        "warm": True,
        "tracking_uri": registry.tracking_uri,
        "registry_uri": registry.registry_uri,
        "timeout_s": registry.timeout_s,
    }
    store = Store(home, key)
    agent = RegistryAgent(
        settings, environ, log, registry.timeout_s, registry.fetch_timeout_s, config.health.hung_after_s
    )
    running = asyncio.create_task(agent.run())
    found = {}
    try:
        for uri in uris:
            resolved = await agent.resolve(uri)
            stored = await asyncio.to_thread(store.find, resolved) or await agent.fetch(resolved)
            label = f"{resolved.name}/{resolved.version}" if resolved.name else uri
            found[uri] = (label, Path(stored.path))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return found
