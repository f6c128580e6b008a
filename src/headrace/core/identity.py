"""What a model URI means, as far as its text tells, and what a served version is called."""

from __future__ import annotations

import json
import re
from hashlib import blake2b
from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec

from headrace.core.errors import UsageError

Kind = Literal["version", "alias", "stage", "latest", "logged_model", "run", "path"]

# MLflow's stages by their names in lower case; a URI may spell them in any case.
STAGES = {"none": "None", "staging": "Staging", "production": "Production", "archived": "Archived"}

MAX_VERSION = 2**31 - 1
"""The highest number that MLflow's own database holds; a higher one is an error of each database's own kind."""

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
"""What a served model may be called."""


class ModelUri(msgspec.Struct, frozen=True):
    """A model URI taken apart. `name` is the registered name where the URI has one, `selector` the rest."""

    text: str
    kind: Kind
    name: str | None
    selector: str

    @property
    def moves(self) -> bool:
        """Whether what the URI points at can change: only then is the registry watched."""
        return self.kind in {"alias", "stage", "latest"}

    @property
    def directory(self) -> str | None:
        """The directory of this machine that the URI names, as a path or as ``file:``; None: MLflow must be asked."""
        parts = urlsplit(self.text)
        if self.kind != "path" or parts.scheme not in {"", "file"}:
            return None
        return unquote(parts.path) if parts.scheme else self.text


class Resolved(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a URI pointed at when it was asked for: one version, never to be asked again.

    `source` is where its artifacts are; `name` and `version` are None outside of the registry. `description` is what
    the registry said of it then. Equal where the version is, however it was asked for.
    """

    uri: str
    name: str | None
    version: str | None
    source: str
    run_id: str | None = None
    description: str = ""

    @property
    def identity(self) -> tuple[str | None, str | None, str]:
        """Equal for two answers that mean the same version."""
        return (self.name, self.version, self.source)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resolved) and self.identity == other.identity

    def __ne__(self, other: object) -> bool:  # a Struct has one of its own
        return not self == other

    def __hash__(self) -> int:
        return hash(self.identity)

    def __str__(self) -> str:
        return f"{self.name or self.source}/{self.version or ''}".rstrip("/")


def parse_model_uri(text: str) -> ModelUri:
    """Take a model URI apart; raises UsageError with the forms that MLflow knows."""
    if not text.strip():
        raise UsageError("an empty model URI; write for example models:/classification@production")
    if not text.startswith("models:/"):
        if text.startswith("runs:/"):
            return ModelUri(text, "run", None, text.removeprefix("runs:/"))
        return ModelUri(text, "path", None, text)
    rest = text.removeprefix("models:/").strip("/")
    name, at, alias = rest.rpartition("@")
    if at:
        if not name or not alias or "/" in alias:
            raise _bad_uri(text)
        return ModelUri(text, "alias", unquote(name), alias)
    name, slash, selector = rest.rpartition("/")
    if not slash:
        if rest.startswith("m-"):
            return ModelUri(text, "logged_model", None, rest)
        raise _bad_uri(text)
    if not name or not selector:
        raise _bad_uri(text)
    if selector.isascii() and selector.isdigit():
        if len(selector) > len(str(MAX_VERSION)) or int(selector) > MAX_VERSION:
            raise UsageError(f"{text}: no registry has so many versions; the highest number is {MAX_VERSION}")
        return ModelUri(text, "version", unquote(name), selector)
    if selector.lower() == "latest":
        return ModelUri(text, "latest", unquote(name), selector)
    if selector.lower() not in STAGES:
        raise UsageError(
            f"{text}: {selector!r} is no stage; stages are Staging, Production, Archived and None "
            f"(for an alias write models:/{name}@{selector})"
        )
    return ModelUri(text, "stage", unquote(name), selector)


def served_name(uri: ModelUri) -> str:
    """A name for a model that was given without one: the registered name, or the last part of the path."""
    if uri.name:
        return safe_name(uri.name)
    parts = [p for p in urlsplit(uri.selector).path.split("/") if p]
    return safe_name(parts[-1] if parts else "model")


def content_identity(*parts: object) -> str:
    """Name JSON-able data by its content: the same wherever the data are the same."""
    return blake2b(json.dumps(parts, sort_keys=True, default=str).encode(), digest_size=20).hexdigest()


def safe_name(text: str) -> str:
    """`text` with everything replaced that could not stand in a URL's path segment, a header or a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:128] or "model"


def valid_name(text: str) -> bool:
    """Whether `text` may name a served model: it becomes part of URLs, file names and metric labels."""
    return NAME.match(text) is not None


def _bad_uri(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is not a model URI; write models:/NAME/3, models:/NAME@ALIAS, models:/NAME/Production, "
        "models:/NAME/latest, models:/m-ID, runs:/RUN/PATH, or a path"
    )
