"""headrace's own copies of models: content-addressed, verified at each use, never half-written.

    home/models/<digest>/...            a model directory; the digest covers every file's path and sha256
    home/models/<digest>.json           {path: sha256} of its files
    home/versions/<key>.json            a registry's version -> the digest of its content
    home/resolutions/<key>.json         a URI -> what it last pointed at, for a start with the registry away

A registry's own directory is never served from and never written to. Every file is written beside its place and
renamed, so that any number of headrace processes may share one home.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from headrace.config.places import Tell, make_room, replace_file
from headrace.core.errors import ModelLoadError, UsageError
from headrace.core.identity import Resolved
from headrace.registry.messages import Listed, Stored

T = TypeVar("T")

_INCOMING = "incoming-"
_SWEPT_AFTER_S = 60.0
_BYTECODE = "__pycache__"
_IGNORED = {"registered_model_meta"}  # MLflow writes it into whatever directory it loads from


class Store:
    """The caches below one home directory, for one registry (`registry` is its URI, part of every key).

    A damaged file counts as not there, and is made again: `tell` is told. Raises UsageError where
    there cannot be such a directory.
    """

    def __init__(self, home: Path, registry: str, tell: Tell = lambda _: None) -> None:
        self._tell = tell
        self._home = home
        self._registry = registry
        try:
            for name in ("models", "versions", "resolutions"):
                _private_directory(home / name)
        except OSError as error:
            raise UsageError(
                f"the cache directory {home} cannot be used: {error.strerror}; set home in the file, or HEADRACE_HOME, "
                f"to a directory that can be written"
            ) from None

    def remember(self, resolved: Resolved) -> None:
        """Keep what a URI points at, for the next start; where the disk is full, the last answer stays."""
        with contextlib.suppress(OSError):
            self._write(self._resolution(resolved.uri), msgspec.json.encode(resolved))

    def last(self, uri: str) -> Resolved | None:
        """What `uri` pointed at when the registry was last asked; None if it never was."""
        return _read(self._resolution(uri), _resolved)

    def remember_listed(self, alias: str, listed: Listed) -> None:
        """Keep which models have an alias, for the next start."""
        with contextlib.suppress(OSError):
            self._write(self._resolution(f"models:/*@{alias}"), msgspec.json.encode(listed))

    def last_listed(self, alias: str) -> Listed | None:
        """Which models had `alias` when the registry was last asked; None if it never was."""
        return _read(self._resolution(f"models:/*@{alias}"), _listed)

    def find(self, resolved: Resolved) -> Stored | None:
        """The verified copy of a version, or None where there is none or its files are no longer what they were."""
        if not resolved.version and not resolved.source.startswith("models:/"):
            return None  # a path or a run's folder may have changed since
        digest = _read(self._version(resolved), _text)
        return self._verified(digest) if digest else None

    def add(self, resolved: Resolved, download: Callable[[Path], Path]) -> Stored:
        """Have `download(directory)` bring the artifacts, then keep them under their digest.

        Raises ModelLoadError when what came is no MLflow model; a failed download leaves nothing behind.
        """
        models = self._home / "models"
        models.mkdir(mode=0o700, parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=models))
        held = os.open(staging, os.O_RDONLY)
        try:
            _hold(held)
            source = download(staging)
            for name in _IGNORED:
                (source / name).unlink(missing_ok=True)
            if not (source / "MLmodel").is_file():
                raise ModelLoadError(f"{resolved.source} holds no MLmodel file: it is not an MLflow model")
            _drop_bytecode(source)
            files = _hash_tree(source)
            digest = hashlib.sha256(msgspec.json.encode(files, order="sorted")).hexdigest()
            target = models / digest
            if self._verified(digest) is None:
                # The list of files first: from the rename on the copy is whole for every other process.
                self._write(target.with_suffix(".json"), msgspec.json.encode(files))
                if not _renamed(source, target) and self._verified(digest) is None:
                    # Nobody was faster with the same content: what is in the place is damaged.
                    self._set_aside(target, staging / "damaged")
                    if not _renamed(source, target) and self._verified(digest) is None:
                        raise ModelLoadError(f"{target} cannot be written: something else is in its place; remove it")
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            os.close(held)
        self._write(self._version(resolved), msgspec.json.encode(digest))
        return Stored(digest=digest, path=str(target), size_bytes=_size_bytes(target))

    def sweep(self, now_s: float) -> None:
        """Remove what processes that were killed had half fetched; what another one is fetching stays.

        `now_s` is Unix time: what was begun within the last minute is left alone.
        """
        for staging in (self._home / "models").glob(f"{_INCOMING}*"):
            with contextlib.suppress(OSError):
                if now_s - staging.stat().st_mtime < _SWEPT_AFTER_S:
                    continue
                held = os.open(staging, os.O_RDONLY)
                try:
                    if _hold(held):
                        shutil.rmtree(staging, ignore_errors=True)
                finally:
                    os.close(held)

    def is_whole(self, stored: Stored) -> bool:
        """Whether a copy that was found or added before still is what it was, file by file."""
        return self._verified(stored.digest) is not None

    def _verified(self, digest: str) -> Stored | None:
        path = self._home / "models" / digest
        expected = _read(path.with_suffix(".json"), _digests)
        if expected is None or path.is_symlink() or not path.is_dir():
            return None
        try:
            _drop_bytecode(path)
            whole = _hash_tree(path) == expected
        except (OSError, ModelLoadError):
            return None
        return Stored(digest=digest, path=str(path), size_bytes=_size_bytes(path)) if whole else None

    def _set_aside(self, target: Path, aside: Path) -> None:
        """Take what is no whole copy out of the place of one; another process may do the same."""
        try:
            target.rename(aside)
        except FileNotFoundError:
            return
        except OSError:  # a directory that may not be written to, for one
            make_room(target)
        self._tell(f"the copy {target} was not what had been fetched; it was fetched again")

    def _write(self, path: Path, data: bytes) -> None:
        replace_file(path, data, self._tell)

    def _resolution(self, uri: str) -> Path:
        return self._home / "resolutions" / f"{_key(self._registry, uri)}.json"

    def _version(self, resolved: Resolved) -> Path:
        parts = (self._registry, resolved.name or "", resolved.version or "", resolved.source)
        return self._home / "versions" / f"{_key(*parts)}.json"


def _hold(directory: int) -> bool:
    """Lock an open directory for as long as it is open; False where another process has, or none can."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _renamed(source: Path, target: Path) -> bool:
    """Move a directory to where nothing is yet; False where something is."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise
        return False
    return True


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _hash_tree(root: Path) -> dict[str, str]:
    """{relative path: sha256} of every file. A link that leaves `root` is refused: it could name anything."""
    files = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != _BYTECODE]  # of a worker that loads it at this moment
        for name in names:
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            if relative in _IGNORED:
                continue
            if not path.is_file():  # a pipe would keep its reader for ever, and a link may lead nowhere
                raise ModelLoadError(f"{relative} of the model is no file")
            if not path.resolve().is_relative_to(root.resolve()):
                raise ModelLoadError(f"the model's file {relative} is a link to outside of the model")
            with path.open("rb") as file:
                files[relative] = hashlib.file_digest(file, "sha256").hexdigest()
    return files


def _drop_bytecode(root: Path) -> None:
    """Remove what Python has compiled of the model's code while a worker loaded it: it is no damage.

    Nor is it to be found by the next worker, whose Python would run it instead of the code that was verified.
    """
    for folder, folders, _ in os.walk(root):
        if _BYTECODE in folders:
            folders.remove(_BYTECODE)
            path = Path(folder, _BYTECODE)
            path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)


def _size_bytes(root: Path) -> int:
    return sum(Path(folder, name).stat().st_size for folder, _, names in os.walk(root) for name in names)


def _private_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be made a private directory ({error.strerror}): name another place in HEADRACE_HOME, or as "
            "home in the configuration"
        ) from error


# As in `environments.store`: made before there are threads.
_resolved = msgspec.json.Decoder(Resolved)
_listed = msgspec.json.Decoder(Listed)
_text = msgspec.json.Decoder(str)
_digests = msgspec.json.Decoder(dict[str, str])


def _read(path: Path, decoder: msgspec.json.Decoder[T]) -> T | None:
    """What a file of ours holds; None for one that cannot be read: it is fetched again."""
    try:
        return decoder.decode(path.read_bytes()) if path.is_file() else None  # of a pipe one would wait for ever
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
