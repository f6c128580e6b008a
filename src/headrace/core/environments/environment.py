"""What environment a model was trained in, normalised: two models that ask for the same get the same digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

import msgspec

from headrace.core.environments.requirements import Requirements, requirement_of
from headrace.core.errors import RequirementRefused

_FORMAT = 1  # part of every digest: raise it when environments are built in another way
_PYTHON = re.compile(r"(\d+)\.(\d+)(\.\d+((a|b|rc)\d+)?)?\+?")


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """The recorded environment. `python` is a version such as ``3.12.1`` or ``3.12``; None where none was recorded.

    `build` are requirement lines that are installed first (pip, setuptools, wheel, as MLflow records them), `files` the
    sha256 of each file of the model that the requirements name.
    """

    python: str | None
    requirements: Requirements
    build: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()

    def refuse_special(self, allow: Collection[str]) -> None:
        """Raise RequirementRefused for the first line whose form is not in `allow`."""
        for special in self.requirements.special:
            if special.form not in allow:
                raise RequirementRefused(
                    f"{special.where} is not allowed here; if you trust who writes to the registry, "
                    f"allow it with environments.allow: [{special.form}]"
                )


def minor(version: str) -> str:
    """``3.12`` of ``3.12.1``; raises RequirementRefused for what is no Python version."""
    match = _PYTHON.fullmatch(version)
    if match is None:
        raise RequirementRefused(f"{version[:40]!r} is no Python version; say for example 3.12.1 in python_env.yaml")
    return f"{match[1]}.{match[2]}"


def digest(spec: Spec, python: str, platform: str) -> str:
    """The name of the environment that `spec` asks for, on a Python minor version and a platform: 32 hex digits."""
    wanted = spec.requirements
    named = {requirement_of(line).name for line in wanted.packages}
    content = {
        "format": _FORMAT,
        "python": minor(python),
        "platform": platform,
        "packages": wanted.packages,
        "constraints": wanted.constraints,
        "options": wanted.options,
        "paths": wanted.paths,
        "files": spec.files,
        "build": [line for line in spec.build if requirement_of(line).name not in named],
    }
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:32]
