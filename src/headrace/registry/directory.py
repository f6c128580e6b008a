"""Model directories of this machine: found and copied without MLflow, whose import takes longer than all of that."""

from __future__ import annotations

import shutil
from pathlib import Path

from headrace.core.errors import ModelNotFound
from headrace.core.identity import ModelUri, Resolved


def resolve(uri: ModelUri) -> Resolved | None:
    """The model in a directory; None where `uri` names none. Raises ModelNotFound when there is no model in it."""
    if uri.directory is None:
        return None
    path = Path(uri.directory).expanduser().absolute()
    if not path.exists():
        raise ModelNotFound(f"{uri.text}: there is no such directory")
    if not (path / "MLmodel").is_file():
        raise ModelNotFound(f"{uri.text}: the directory holds no MLmodel file: it is not an MLflow model")
    return Resolved(uri=uri.text, name=None, version=None, source=str(path))


def copy(source: str, directory: Path) -> Path:
    """Copy a model's directory below `directory`, links as what they lead to; returns it. Raises ModelNotFound."""
    try:
        return Path(shutil.copytree(source, directory / "model"))
    except FileNotFoundError as error:
        raise ModelNotFound(f"the artifacts of {source} are not there: {error}") from error
