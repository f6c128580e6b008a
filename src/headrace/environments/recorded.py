"""Reads the environment that a model directory records: python_env.yaml, requirements.txt, conda.yaml."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from headrace.core.environments.environment import Spec, minor
from headrace.core.environments.requirements import Requirements, parse, requirement_of
from headrace.core.errors import RequirementRefused

_MOST_BYTES = 1024 * 1024

# [channel::]name and =version[=build], ==version[=build], a version alone, or a range.
_CONDA_PACKAGE = re.compile(
    r"(?:\S+::)?(?P<name>[A-Za-z0-9._-]+)\s*"
    r"(?:=(?P<fuzzy>[\w.*+!]+)(?:=\S+)?|(?:==\s*|(?<=\s))(?P<exact>[\w.*+!]+)(?:=\S+)?|(?P<range>(?:[<>~]|!=).+))"
)
_BUILD_TOOLS = frozenset({"pip", "setuptools", "wheel"})

# MLflow 2.9 records setuptools without a version and imports pkg_resources, which later ones do not have.
_UNPINNED = {"setuptools": "setuptools<81"}


def read_spec(model: Path) -> Spec:
    """The environment that the model in this directory was trained in, as its files say.

    Raises RequirementRefused when they say nothing, or something that no environment can be built from.
    """
    python_env = _yaml(model, "python_env.yaml")
    conda = _yaml(model, "conda.yaml")
    python = _version(python_env.get("python")) or _conda_python(conda) or _version(_flavor(model))
    if python is not None:
        minor(python)  # refuses what is no version
    if (model / "requirements.txt").is_file():
        requirements = parse(_text(model, "requirements.txt"), "requirements.txt", lambda name: _text(model, name))
        requirements = _constrained(requirements, _conda_constraints(conda))
    elif (lines := _conda_pip(conda)) is not None:
        requirements = parse("\n".join(lines), "conda.yaml", lambda name: _text(model, name))
    else:
        raise RequirementRefused(
            "the model records no environment (no requirements.txt and no conda.yaml with pip packages): "
            "log it with pip_requirements, or serve it with environment: local"
        )
    build = parse("\n".join(_strings(python_env.get("build_dependencies"))), "python_env.yaml", _no_file)
    if build.special:
        raise RequirementRefused(f"{build.special[0].where}: build_dependencies may hold plain requirements only")
    return Spec(
        python=python,
        requirements=requirements,
        build=tuple(_UNPINNED.get(line, line) for line in build.packages),
        files=_hashes(model, requirements),
    )


def _hashes(model: Path, requirements: Requirements) -> tuple[tuple[str, str], ...]:
    hashes = []
    for name in requirements.paths:
        path = model / name
        if not path.resolve().is_relative_to(model.resolve()) or not path.is_file():
            raise RequirementRefused(f"requirements.txt names {name}, which is no file of the model")
        with path.open("rb") as file:
            hashes.append((name, hashlib.file_digest(file, "sha256").hexdigest()))
    return tuple(hashes)


def _text(model: Path, name: str) -> str:
    path = model / name
    if not path.resolve().is_relative_to(model.resolve()):
        raise RequirementRefused(f"{name} is a link to outside of the model")
    if path.stat().st_size > _MOST_BYTES:
        raise RequirementRefused(f"{name} is larger than {_MOST_BYTES} bytes: that is no list of requirements")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RequirementRefused(
            f"{name} is no UTF-8 text ({error.reason} at byte {error.start}): write it anew"
        ) from None


def _no_file(name: str) -> str:
    raise FileNotFoundError(name)


def _yaml(model: Path, name: str) -> dict[str, Any]:
    """A mapping from one of the model's files, every scalar a string: YAML would read the version 3.10 as 3.1."""
    try:
        found = yaml.load(_text(model, name), Loader=yaml.BaseLoader)  # noqa: S506 - makes strings, no objects
    except FileNotFoundError:
        return {}
    except (OSError, RecursionError, yaml.YAMLError) as error:
        raise RequirementRefused(f"{name} cannot be read: {' '.join(str(error).split())[:200]}") from None
    return found if isinstance(found, dict) else {}


def _flavor(model: Path) -> Any:
    flavors = _yaml(model, "MLmodel").get("flavors")
    function = flavors.get("python_function") if isinstance(flavors, dict) else None
    return function.get("python_version") if isinstance(function, dict) else None


def _version(value: object) -> str | None:
    return value.strip() if isinstance(value, str) and value.strip() else None


def _strings(value: object) -> list[str]:
    return [line for line in value if isinstance(line, str)] if isinstance(value, list) else []


def _conda_python(conda: dict[str, Any]) -> str | None:
    """``python=3.8.18`` (or ``==``) of a conda environment; models of MLflow 1 have nothing else."""
    for line in _strings(conda.get("dependencies")):
        name, _, version = line.partition("=")
        if name.strip() == "python":
            return _version(version.lstrip("="))
    return None


def _constrained(requirements: Requirements, more: Iterable[str]) -> Requirements:
    """`requirements` with these constraints; what it names itself is left to it."""
    named = {requirement_of(line).name for line in requirements.packages} | _BUILD_TOOLS
    added = {line for line in more if requirement_of(line).name not in named}
    return msgspec.structs.replace(requirements, constraints=tuple(sorted({*requirements.constraints, *added})))


def _conda_constraints(conda: dict[str, Any]) -> list[str]:
    """Conda's own packages with a version, in pip's terms: ``=1.5`` of conda is ``==1.5.*``, ``=1.5=build`` too.

    What has no version, or one that pip does not know, constrains nothing: it may be no Python package at all.
    """
    found: list[str] = []
    for line in _strings(conda.get("dependencies")):
        match = _CONDA_PACKAGE.fullmatch(line.strip())
        if match is None or match["name"] == "python":
            continue
        if match["fuzzy"]:
            text = f"{match['name']}=={match['fuzzy'].rstrip('*').rstrip('.')}.*"
        else:
            text = f"{match['name']}{'==' if match['exact'] else ''}{match['exact'] or match['range']}"
        with contextlib.suppress(RequirementRefused):
            found += parse(text, "conda.yaml", _no_file).packages
    return found


def _conda_pip(conda: dict[str, Any]) -> list[str] | None:
    """The pip packages of a conda environment; raises RequirementRefused where conda itself would be needed."""
    dependencies = conda.get("dependencies")
    if not isinstance(dependencies, list):
        return None
    names = [line.partition("=")[0].strip() for line in _strings(dependencies)]
    foreign = sorted({n for n in names if n.split("<")[0].split(">")[0].strip() not in {"python", "pip"}})
    if foreign:
        raise RequirementRefused(
            f"conda.yaml asks for packages of conda ({', '.join(foreign)[:200]}), which uv cannot install: "
            "log the model with pip_requirements, or serve it with environment: local"
        )
    for entry in dependencies:
        if isinstance(entry, dict) and isinstance(entry.get("pip"), list):
            return _strings(entry["pip"])
    return None
