"""Compares what a model requires with what an environment holds: a verdict for each package, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal
from urllib.parse import urldefrag

import msgspec
from packaging.markers import InvalidMarker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from headrace.core.environments.environment import Spec, minor
from headrace.core.environments.requirements import archive_requirement, requirement_of, without_secrets

Verdict = Literal["ok", "other patch", "differs", "missing"]

# What the worker imports to serve a pyfunc model, and the distributions that bring it.
_WORKER_NEEDS = {"mlflow": ("mlflow", "mlflow-skinny"), "pandas": ("pandas",), "numpy": ("numpy",)}


class Package(msgspec.Struct, frozen=True):
    """One installed distribution: its version, its own requirement lines, and where it came from if not an index."""

    version: str
    requires: tuple[str, ...] = ()
    url: str | None = None


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """An environment: its Python's version and marker variables, and a way to look packages up."""

    python: str
    markers: Mapping[str, str]
    find: Callable[[str], Package | None]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was required, what was found, and the verdict. `other patch` is accepted, and told."""

    package: str
    required: str
    found: str | None
    verdict: Verdict


class Report(msgspec.Struct, frozen=True):
    """Every finding; `problem` says why there are none where the model's requirements cannot be read."""

    findings: tuple[Finding, ...] = ()
    problem: str | None = None

    @property
    def mismatches(self) -> tuple[Finding, ...]:
        """The findings that make predictions doubtful: empty when the environment is what the model asks for."""
        return tuple(f for f in self.findings if f.verdict in {"differs", "missing"})

    def line(self) -> str:
        """The mismatches in one line, for a message."""
        parts = [f"{f.package} (found: {f.found or 'nothing'}, required: {f.required})" for f in self.mismatches]
        return ", ".join(parts) or self.problem or "none"


def compare(spec: Spec, installed: Installed) -> Report:
    """Compare a recorded environment with an installed one; requirements that do not apply here are left out.

    A constraint asks for nothing, but what is there has to keep it.
    """
    findings = [] if spec.python is None else [_python(spec.python, installed.python)]
    wanted = spec.requirements
    archives = [line for line in map(archive_requirement, wanted.paths) if line]
    for line in (*wanted.packages, *archives):
        findings += _check(requirement_of(line), installed, frozenset())
    constraints = [_check(requirement_of(line), installed, frozenset()) for line in wanted.constraints]
    findings += [finding for one in constraints for finding in one if finding.verdict != "missing"]
    return Report(tuple(dict.fromkeys(findings)))


def lacks(installed: Installed) -> tuple[str, ...]:
    """What a worker needs to serve a model and does not find in an environment."""
    return tuple(need for need, names in _WORKER_NEEDS.items() if not any(map(installed.find, names)))


def _python(required: str, found: str) -> Finding:
    if minor(required) != minor(found):
        return Finding("python", required, found, "differs")
    patch_matters = required.count(".") > 1
    return Finding("python", required, found, "other patch" if patch_matters and required != found else "ok")


def _check(requirement: Requirement, installed: Installed, extras: frozenset[str]) -> list[Finding]:
    """The findings for one requirement and for what its extras ask for."""
    if requirement.marker and not requirement.marker.evaluate({**installed.markers, "extra": ""}):
        return []
    name = canonicalize_name(requirement.name)
    package = installed.find(name)
    if package is None:
        return [Finding(name, _required(requirement), None, "missing")]
    findings = [Finding(name, _required(requirement), package.version, _verdict(requirement, package))]
    for extra in sorted(requirement.extras):
        if f"{name}[{extra}]" not in extras:
            for inner in _of_extra(package, extra, installed):
                findings += _check(inner, installed, extras | {f"{name}[{extra}]"})
    return findings


def _verdict(requirement: Requirement, package: Package) -> Verdict:
    if requirement.url is not None:
        return "ok" if package.url and _address(package.url) == _address(requirement.url) else "differs"
    try:
        fits = requirement.specifier.contains(package.version, prereleases=True)
    except InvalidVersion:
        fits = False
    return "ok" if fits else "differs"


def _of_extra(package: Package, extra: str, installed: Installed) -> list[Requirement]:
    """What a package asks for when this extra is chosen, and not otherwise."""
    found = []
    for line in package.requires:
        try:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({**installed.markers, "extra": ""}):
                continue
            if requirement.marker.evaluate({**installed.markers, "extra": extra}):
                requirement.marker = None
                found.append(requirement)
        except (InvalidRequirement, InvalidMarker):  # not the model's fault, and the installer took it
            continue
    return found


def _required(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    if requirement.url:
        return f"{extras}@ {without_secrets(requirement.url)}"
    return extras + (str(requirement.specifier) or "any")


def _address(url: str) -> str:
    """An address without the user and the fragment that it may hold."""
    scheme, separator, rest = urldefrag(url).url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
