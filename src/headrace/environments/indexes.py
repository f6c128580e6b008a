"""Hands pip's settings to uv, which does not read them: where packages come from is the user's to say once."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping
from pathlib import Path

# pip's setting -> uv's variable, and what separates several values there.
_SETTINGS = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
    "cert": ("SSL_CERT_FILE", " "),
}
_TARGETS = (  # variables that would have uv install into, or for, something else than it is told
    "CONDA_DEFAULT_ENV",
    "CONDA_PREFIX",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "UV_BREAK_SYSTEM_PACKAGES",
    "UV_COMPILE_BYTECODE",
    "UV_PROJECT",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_PYTHON_DOWNLOADS",
    "UV_SYSTEM_PYTHON",
    "UV_VENV_CLEAR",
    "UV_VENV_SEED",
    "UV_WORKING_DIRECTORY",
    "VIRTUAL_ENV",
)


def uv_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables to run uv with: the user's own, pip's settings where uv has none, and nothing that misleads it."""
    made = {name: value for name, value in environ.items() if name not in _TARGETS}
    settings = _pip_settings(environ)
    for setting, (variable, separator) in _SETTINGS.items():
        value = separator.join(settings.get(setting, "").split())
        if value and not made.get(variable):
            made[variable] = value
    # As pip does: the best of all indexes.
    made.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return {**made, "NO_COLOR": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}


def pip_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables to run pip with: the user's own, and uv's settings where pip has none."""
    made = {name: value for name, value in environ.items() if name not in {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"}}
    settings = _pip_settings(environ)
    for setting in ("index-url", "extra-index-url", "find-links", "trusted-host", "cert"):
        variable, separator = _SETTINGS[setting]
        if environ.get(variable) and not settings.get(setting):
            made[f"PIP_{setting.upper().replace('-', '_')}"] = " ".join(environ[variable].split(separator))
    return made


def uv_options(environ: Mapping[str, str]) -> list[str]:
    """What of pip's settings uv takes as an option of `uv pip install` only."""
    no_index = _pip_settings(environ).get("no-index", "").strip().lower()
    return ["--no-index"] if no_index in {"1", "true", "yes", "on"} else []


def _pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """What pip is told, the strongest last: its files, then what only `pip install` is told, then PIP_* variables."""
    settings: dict[str, str] = {}
    for section in ("global", "install"):
        for path in _files(environ):
            parser = configparser.RawConfigParser()
            try:
                parser.read(path, encoding="utf-8")
            except (configparser.Error, UnicodeDecodeError):
                continue  # pip itself will complain about it
            if parser.has_section(section):
                settings.update({name.replace("_", "-"): value for name, value in parser.items(section)})
    for name, value in environ.items():
        if name.startswith("PIP_"):
            settings[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return settings


def _files(environ: Mapping[str, str]) -> list[Path]:
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = Path(environ.get("HOME") or Path.home())
    shared = [Path(d) for d in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep) if d]
    files = [*(folder / "pip" / "pip.conf" for folder in shared), Path("/etc/pip.conf")]
    if sys.platform == "darwin":
        files = [Path("/Library/Application Support/pip/pip.conf"), *files]
        files.append(home / "Library" / "Application Support" / "pip" / "pip.conf")
    files.append(home / ".pip" / "pip.conf")
    files.append(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf")
    files.append(Path(sys.prefix) / "pip.conf")
    return [*files, Path(named)] if named else files
