"""What headrace takes from the environment: here, once, and nowhere else.

But for what libraries define: OpenTelemetry's variables are read beside its exporter, MLflow's where MLflow is called.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from headrace.core.errors import UsageError

if TYPE_CHECKING:
    from headrace.config.registry import Registry

ADMIN_URL = "http://127.0.0.1:5100"
WORKSPACE = "MLFLOW_WORKSPACE"

_TRACE_SAMPLE = 0.01


def home(configured: Path | None, environ: Mapping[str, str] | None = None) -> Path:
    """The directory of headrace's caches: the configured one, HEADRACE_HOME, or the user's cache directory."""
    environ = os.environ if environ is None else environ
    if configured:
        return configured.expanduser().absolute()
    if environ.get("HEADRACE_HOME"):
        return Path(environ["HEADRACE_HOME"]).expanduser().absolute()
    if sys.platform == "darwin":
        return Path("~/Library/Caches/headrace").expanduser()
    return Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "headrace"


def registry_key(registry: Registry, environ: Mapping[str, str]) -> str:
    """What tells a registry from others that share a home: its address, and the workspace in it."""
    told = (registry.registry_uri, registry.tracking_uri, environ.get("MLFLOW_REGISTRY_URI"))
    uri = next(filter(None, told), environ.get("MLFLOW_TRACKING_URI") or "")
    workspace = registry.workspace or environ.get(WORKSPACE)
    return f"{uri} in {workspace}" if workspace else uri


def in_workspace(environ: Mapping[str, str], registry: Registry) -> Mapping[str, str]:
    """The environment in which MLflow asks in the configured workspace."""
    return {**environ, WORKSPACE: registry.workspace} if registry.workspace else environ


def webhook_secret(configured: str | None, environ: Mapping[str, str]) -> str | None:
    """The secret that MLflow signs its webhooks with; None: webhooks are not taken."""
    return configured or environ.get("HEADRACE_WEBHOOK_SECRET") or None


def trace_sample(configured: float | None, environ: Mapping[str, str]) -> float | None:
    """The share of requests that are traced: the configured one, OTEL_TRACES_SAMPLER's, or 0.01; None: OTel is off."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if configured is not None:
        return configured
    sampler = environ.get("OTEL_TRACES_SAMPLER", "").removeprefix("parentbased_")
    if sampler in {"always_on", "always_off"}:
        return float(sampler == "always_on")
    if sampler != "traceidratio":
        return _TRACE_SAMPLE
    try:
        ratio = float(environ.get("OTEL_TRACES_SAMPLER_ARG", "1.0"))
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        raise UsageError("OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1")
    return ratio


def serving_model_config(environ: Mapping[str, str] | None = None) -> dict[str, object] | None:
    """MLflow's SERVING_MODEL_CONFIG: a JSON object that overrides a model's own configuration."""
    environ = os.environ if environ is None else environ
    text = environ.get("SERVING_MODEL_CONFIG")
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"SERVING_MODEL_CONFIG is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UsageError("SERVING_MODEL_CONFIG must be a JSON object")
    return value


def what_to_serve(environ: Mapping[str, str]) -> tuple[str | None, Path | None]:
    """(model URI, file) for a `headrace serve` that was told neither: the first of its variables that says one.

    HEADRACE_MODEL_URI, MLServer's MLSERVER_MODEL_URI, HEADRACE_CONFIG: an image names its file always.
    """
    uri = environ.get("HEADRACE_MODEL_URI") or environ.get("MLSERVER_MODEL_URI") or None
    file = environ.get("HEADRACE_CONFIG")
    return uri, Path(file) if file and uri is None else None


def admin_url(environ: Mapping[str, str]) -> str:
    """Where the admin port of the headrace on this machine is: HEADRACE_ADMIN, or its usual place."""
    return environ.get("HEADRACE_ADMIN") or ADMIN_URL


class Systemd(NamedTuple):
    """What systemd asks of a service. `address`: where it listens, `watchdog_s`: how often it must hear from us."""

    address: str | None = None
    watchdog_s: float | None = None


_SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


def systemd(environ: Mapping[str, str], pid: int | None = None) -> Systemd:
    """What the variables of sd_notify(3) and sd_watchdog_enabled(3) say; a watchdog for another process is not ours.

    `pid` is the process that systemd has started, None: this one.
    """
    address, watched = environ.get("NOTIFY_SOCKET"), environ.get("WATCHDOG_PID")
    try:
        watchdog_s = int(environ.get("WATCHDOG_USEC", "")) / 1e6 or None
    except ValueError:
        watchdog_s = None
    ours = watched in {None, "", str(pid or os.getpid())}
    return Systemd(address or None, watchdog_s if address and ours else None)


def for_children(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what is meant for this process alone."""
    return {name: value for name, value in environ.items() if name not in _SYSTEMD}
