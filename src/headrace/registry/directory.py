"""Model directories of this machine: found and copied without MLflow, whose import takes longer than all of that."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from headrace.core.errors import ModelLoadError, ModelNotFound
from headrace.core.identity import ModelUri, Resolved

_MOST_FILES = 100_000


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
    """Copy a model's directory below `directory`, links as what they lead to; returns it.

    Raises ModelNotFound where it is not there, and ModelLoadError as `check`.
    """
    try:
        check(Path(source), directory)
        return Path(shutil.copytree(source, directory / "model"))
    except FileNotFoundError as error:
        raise ModelNotFound(f"the artifacts of {source} are not there: {error}") from error


def check(source: Path, target: Path) -> None:
    """Raise ModelLoadError for a directory of which there is no copy, or none that fits onto the disk of `target`.

    A link to a directory that it is in, a device or a pipe would be copied without end.
    """
    files, size_bytes = 0, 0
    folders: list[tuple[str, frozenset[tuple[int, int]]]] = [(str(source), frozenset())]
    while folders:
        folder, above = folders.pop()
        info = Path(folder).stat()
        own = (info.st_dev, info.st_ino)
        if own in above:
            raise ModelLoadError(f"{folder} of the model is a link to a directory that it is in")
        with os.scandir(folder) as entries:
            for entry in entries:
                files += 1
                if files > _MOST_FILES:
                    raise ModelLoadError(f"{source} holds more than {_MOST_FILES:,} files: it is not an MLflow model")
                if entry.is_dir():
                    folders.append((entry.path, above | {own}))
                elif entry.is_file():
                    size_bytes += entry.stat().st_size
                else:
                    raise ModelLoadError(f"{entry.path} of the model is no file, or a link that leads nowhere")
    free_bytes = shutil.disk_usage(target).free
    if size_bytes > free_bytes:
        raise ModelLoadError(
            f"{source} holds {size_bytes:,} bytes, and {free_bytes:,} are free on the disk of {target}; make "
            "room there, or set home in the configuration to a directory on another disk"
        )
