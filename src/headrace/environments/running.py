"""The running interpreter as an environment: what a model would find under `environment: local`."""

from __future__ import annotations

import platform
import sysconfig
from importlib import metadata

from headrace.core.environments.mismatch import Installed, Package
from headrace.environments import survey


def installed() -> Installed:
    """What is installed beside the running interpreter; looked up package by package, nothing is imported."""
    return Installed(python=platform.python_version(), markers=survey.markers(), find=_find)


def platform_name() -> str:
    """What makes an environment useless on another machine: system, processor, C library."""
    return f"{sysconfig.get_platform()}-{platform.libc_ver()[0] or 'libc'}"


def _find(name: str) -> Package | None:
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    found = survey.package(distribution)
    return Package(found["version"], tuple(found["requires"]), found["url"])
