"""A model's requirement lines, taken apart: what each asks for, and what of it a builder has to be allowed.

Lines come from a registry, so they are never trusted: what is not understood is refused, and what reaches the
installer is written anew from what was understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Literal

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from headrace.core.errors import RequirementRefused

Form = Literal["files", "paths", "urls", "indexes"]

_COMMENT = re.compile(r"(^|\s)#.*$")
_HASH = re.compile(r"\s--hash[= ](sha256|sha384|sha512):([0-9a-f]{32,128})(?=\s|$)")
_OPTION = re.compile(r"\s(--[a-z][a-z-]*)")
_ARCHIVE = (".whl", ".tar.gz", ".zip")
_FILE_OPTIONS = {"-r": "-r", "--requirement": "-r", "-c": "-c", "--constraint": "-c"}
_INDEX_OPTIONS = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "--no-index": "--no-index",
}
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
_DEPTH = 4


class Special(msgspec.Struct, frozen=True):
    """A line that a builder has to be allowed: its form, and where it stands (`requirements.txt line 3: …`)."""

    form: Form
    where: str


class Requirements(msgspec.Struct, frozen=True, kw_only=True):
    """Requirement lines, normalised and sorted. Two that are equal ask for the same.

    `packages` and `constraints` are lines for an installer (with hashes where the model has them), `paths` files of the
    model, `options` index options, one a line. `special` says what of all this is more than a plain requirement.
    """

    packages: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    special: tuple[Special, ...] = ()


def parse(text: str, name: str, read: Callable[[str], str]) -> Requirements:
    """Take the lines of a file called `name` apart; `read` gives the text of another file of the model.

    Raises RequirementRefused for what is no requirement or must not be one, with the line and what to do.
    """
    reader = _Reader(read)
    reader.add(text, name, constraint=False, depth=0)
    return Requirements(
        packages=_sorted(reader.packages),
        constraints=_sorted(reader.constraints),
        paths=_sorted(reader.paths),
        options=tuple(dict.fromkeys(reader.options)),  # the order of indexes has a meaning
        special=tuple(reader.special),
    )


def requirement_of(line: str) -> Requirement:
    """The requirement in one of our own lines, its hashes left out."""
    return Requirement(_HASH.sub("", line))


def archive_requirement(path: str) -> str | None:
    """``NAME==VERSION`` as the file name of a wheel or source archive says it; None where it does not."""
    try:
        if path.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(PurePosixPath(path).name)
        else:
            name, version = parse_sdist_filename(PurePosixPath(path).name)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return f"{name}=={version}"


class _Reader:
    """Collects what the lines of a file, and of those that it includes, ask for."""

    def __init__(self, read: Callable[[str], str]) -> None:
        self.packages: list[str] = []
        self.constraints: list[str] = []
        self.paths: list[str] = []
        self.options: list[str] = []
        self.special: list[Special] = []
        self._read = read

    def add(self, text: str, name: str, *, constraint: bool, depth: int) -> None:
        if depth > _DEPTH:
            raise RequirementRefused(f"{name}: files include one another more than {_DEPTH} deep")
        for number, line in _lines(text):
            where = f"{name} line {number}: {_shown(line)}"
            if "${" in line or any(ord(c) < 32 and c != "\t" for c in line):
                raise RequirementRefused(f"{where}: variables and control characters have no place in a requirement")
            if line.startswith("-"):
                self._option(line, where, depth)
            elif _is_path(line):
                self._path(line, where)
            else:
                self._package(line, where, constraint=constraint)

    def _option(self, line: str, where: str, depth: int) -> None:
        match = re.match(r"(--[a-z-]+|-[a-z])(?:\s*=\s*|\s+|(?<=^-[a-z]))?(.*)$", line)
        option, value = (match[1], match[2].strip()) if match else (line, "")
        if option in _FILE_OPTIONS:
            self.special.append(Special("files", where))
            inner = _inside(value, where)
            try:
                text = self._read(inner)
            except OSError as error:
                raise RequirementRefused(f"{where}: the model holds no such file that can be read: {error}") from None
            self.add(text, inner, constraint=_FILE_OPTIONS[option] == "-c", depth=depth + 1)
        elif option in _INDEX_OPTIONS:
            self.special.append(Special("indexes", where))
            if (option == "--no-index") is bool(value) or value.startswith("-") or " " in value:
                raise RequirementRefused(f"{where}: expected {_INDEX_OPTIONS[option]} and one address")
            self.options.append(f"{_INDEX_OPTIONS[option]} {value}".rstrip())
        else:
            raise RequirementRefused(f"{where}: a model's requirements may not hold the option {option}; remove it")

    def _path(self, line: str, where: str) -> None:
        self.special.append(Special("paths", where))
        inner = _inside(line, where)
        if archive_requirement(inner) is None:
            raise RequirementRefused(f"{where}: a path in a model's requirements must name a wheel or source archive")
        self.paths.append(inner)

    def _package(self, line: str, where: str, *, constraint: bool) -> None:
        hashes = sorted(f"--hash={kind}:{digest}" for kind, digest in _HASH.findall(line))
        plain = _HASH.sub("", line).strip()
        if option := _OPTION.search(plain):
            raise RequirementRefused(f"{where}: a requirement may not hold the option {option[1]}; remove it")
        try:
            requirement = Requirement(plain)
        except InvalidRequirement as error:
            if "://" in line:
                raise RequirementRefused(f"{where}: an address needs a name: write NAME @ ADDRESS") from None
            raise RequirementRefused(f"{where}: is no requirement: {str(error).splitlines()[0]}") from None
        if requirement.url is not None:
            self.special.append(Special("urls", where))
            if not re.match(r"(git\+)?(https|http|ssh)://", requirement.url) or " " in requirement.url:
                raise RequirementRefused(f"{where}: only https, http and git+https or git+ssh addresses can be fetched")
        requirement.name = canonicalize_name(requirement.name)
        target = self.constraints if constraint else self.packages
        text = str(requirement)
        if requirement.url is not None:  # packaging before 24 writes 'NAME@ ADDRESS', and texts are compared
            text = re.sub(r"(?<! )@ ", " @ ", text, count=1)
        target.append(" ".join([text, *hashes]))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first one: continuations joined, comments and empty lines left out."""
    pending, first = "", 0
    for number, line in enumerate([*text.removeprefix("\ufeff").split("\n"), ""], start=1):
        first = first if pending else number
        if line.rstrip("\r").endswith("\\") and not line.lstrip().startswith("#"):  # a comment ends with its line
            pending += line.rstrip("\r")[:-1] + " "
            continue
        whole = _COMMENT.sub("", (pending + line).rstrip("\r")).strip()
        pending = ""
        if whole:
            yield first, whole


def _is_path(line: str) -> bool:
    head = line.partition(";")[0].partition(" @ ")[0].strip()
    if "://" in head or any(c.isspace() for c in head):
        return False
    return "/" in head or "\\" in head or head.startswith(".") or head.endswith(_ARCHIVE)


def _inside(value: str, where: str) -> str:
    """`value` as a path within the model; raises RequirementRefused for one that leads out of it."""
    path = PurePosixPath(value)
    if not value or path.is_absolute() or ".." in path.parts or "\\" in value or ":" in value or value.startswith("~"):
        raise RequirementRefused(f"{where}: may only name a file inside of the model")
    return str(path)


def without_secrets(text: str) -> str:
    """`text` as it may be told: of an address, the user and the password are left out."""
    return _USER_INFO.sub("***@", text)


def _shown(line: str) -> str:
    """A line as it may stand in a message: short, and in quotes."""
    text = without_secrets(line)
    return repr(text if len(text) <= 120 else text[:117] + "...")


def _sorted(lines: list[str]) -> tuple[str, ...]:
    return tuple(sorted(set(lines)))
