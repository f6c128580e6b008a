"""Lists what is installed beside the interpreter that runs this file; nothing of it is imported.

    python -I survey.py     prints {"python", "markers", "packages": {name: {"version", "requires", "url"}}}

Standard library only, and Python 3.8 or later: it is run by the interpreters of models.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from importlib import metadata
from typing import Any


def markers() -> dict[str, str]:
    """The variables of environment markers (PEP 508), here."""
    version = platform.python_version()
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": version,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": version,
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def package(distribution: metadata.Distribution) -> dict[str, Any]:
    """One distribution: its version, its own requirements, and its address if it did not come from an index."""
    return {
        "version": distribution.version or "",
        "requires": distribution.requires or [],
        "url": _address(distribution),
    }


def packages(path: list[str] | None = None) -> dict[str, Any]:
    """Every distribution by its normalised name; of two with one name the first on the path, as imports do.

    `path` is where another interpreter looks; None: where this one does.
    """
    found: dict[str, Any] = {}
    for distribution in metadata.distributions() if path is None else metadata.distributions(path=path):
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), package(distribution))
    return found


def _address(distribution: metadata.Distribution) -> str | None:
    try:
        recorded = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return None
    source = recorded.get("vcs_info") or {}
    url: str | None = recorded.get("url")
    if url and source:
        revision = source.get("requested_revision")
        return "{}+{}{}".format(source.get("vcs", "git"), url, f"@{revision}" if revision else "")
    return url


if __name__ == "__main__":
    json.dump({"python": platform.python_version(), "markers": markers(), "packages": packages()}, sys.stdout)
