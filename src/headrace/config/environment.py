"""What headrace takes from the environment: here, once, and nowhere else."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from headrace.core.errors import UsageError


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


def webhook_secret(configured: str | None, environ: Mapping[str, str]) -> str | None:
    """The secret that MLflow signs its webhooks with; None: webhooks are not taken."""
    return configured or environ.get("HEADRACE_WEBHOOK_SECRET") or None


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
