"""The environments below one home: built once, used by any number of models, versions and headrace processes.

    home/envs/<digest>/                 a virtual environment, private (0700)
    home/envs/<digest>/headrace.json    what is in it; written last, so that one without it is half-built and never used
    home/envs/<digest>.lock             locked by the one that builds or removes it
    home/envs/<digest>.use              locked, shared, by each process that uses it; its time is that of its last use

Locks are the kernel's (flock): they end with their process, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from headrace.config.places import make_room
from headrace.core.environments.environment import Spec
from headrace.core.environments.mismatch import Installed, Package
from headrace.environments import survey

_MARKER = "headrace.json"
_DIGEST = re.compile(r"[0-9a-f]{32}")


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a whole environment: what was asked for, what is in it now, and what it cost."""

    digest: str
    spec: Spec
    python: str
    interpreter: str
    markers: dict[str, str]
    packages: dict[str, Package]
    built_s: float
    took_s: float
    size_bytes: int
    installed_names: tuple[str, ...] = ()  # the directories that tell what is installed, when it was built
    changed: bool = False  # somebody installed or removed something since; `packages` is what there is now

    def installed(self) -> Installed:
        """Its content, to be compared with a model's requirements."""
        return Installed(python=self.python, markers=self.markers, find=self.packages.get)


class EnvironmentStore:
    """Finds, locks, completes and removes environments. All calls but `release` may block: not for an event loop.

    `prebuilt` is a directory of environments that are found as well, and never written to or removed.
    """

    def __init__(self, home: Path, prebuilt: Path | None = None) -> None:
        self.root = home / "envs"
        self._prebuilt = prebuilt
        self._uses: dict[str, list[int]] = {}  # a locked file for each use

    def path(self, digest: str) -> Path:
        """Where the environment with this digest is built, if it is none of the prebuilt ones."""
        return self.root / digest

    def python(self, digest: str) -> Path:
        """Its interpreter."""
        folder = self.path(digest)
        if self._prebuilt is not None and not (folder / _MARKER).exists() and _read(self._prebuilt / digest):
            folder = self._prebuilt / digest
        return folder / "bin" / "python"

    def find(self, digest: str) -> Environment | None:
        """A whole environment, or None: not built, half-built, or without the interpreter that it was built on."""
        found = _read(self.path(digest))
        return found or (_read(self._prebuilt / digest) if self._prebuilt is not None else None)

    def use(self, digest: str) -> None:
        """Keep an environment from being removed until `release` was called as often, or this process ends."""
        self._prepare()
        fd = self._open_lock(digest, "use")
        fcntl.flock(fd, fcntl.LOCK_SH)
        os.utime(fd)
        self._uses.setdefault(digest, []).append(fd)

    def release(self, digest: str) -> None:
        """Take one `use` back, and note that it ended now. Waits for nothing: an event loop may call it."""
        fd = self._uses[digest].pop()
        with contextlib.suppress(OSError):
            os.utime(fd)
        os.close(fd)

    def in_use(self, digest: str) -> bool:
        """Whether a process uses an environment now, this one or another."""
        try:
            fd = os.open(self._lock(digest, "use"), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    @contextlib.contextmanager
    def building(self, digest: str) -> Iterator[Path]:
        """Hold the lock of one environment, waiting for it; gives its path, where nothing is but a whole one.

        What is half-built is removed before, and after the block unless that has completed it.
        """
        self._prepare()
        with self._locked(digest, "lock", fcntl.LOCK_EX):
            path = self.path(digest)
            self._discard(digest)
            try:
                yield path
            finally:
                self._discard(digest)

    def complete(self, environment: Environment) -> None:
        """Declare an environment whole: from now on it is used. The caller holds its lock."""
        folder = self.path(environment.digest)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(msgspec.json.encode(environment))
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(folder / _MARKER)

    def discard_unfinished(self, digest: str) -> None:
        """Remove what a builder left that was killed; nothing happens while another one builds."""
        self._prepare()
        with contextlib.suppress(BlockingIOError), self._locked(digest, "lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
            self._discard(digest)

    def all(self) -> list[Environment]:
        """Every whole environment, the one used last first."""
        found = [self.find(d) for d in self._digests()]
        return sorted((e for e in found if e), key=lambda e: self.used_s(e.digest), reverse=True)

    def unfinished(self) -> list[str]:
        """The digests of environments that are being built, were left half-built, or lost their interpreter."""
        return [d for d in self._digests() if self.path(d).is_dir() and self.find(d) is None]

    def used_s(self, digest: str) -> float:
        """When an environment was last used, on the clock of `time.time`: now for one in use, 0 for one never used."""
        if self.in_use(digest):
            return time.time()
        try:
            return self._lock(digest, "use").stat().st_mtime
        except OSError:
            return 0.0

    def remove(self, digest: str) -> bool:
        """Remove an environment; False when it is in use or being built, which then goes on undisturbed."""
        self._prepare()
        try:
            with (
                self._locked(digest, "lock", fcntl.LOCK_EX | fcntl.LOCK_NB),
                self._locked(digest, "use", fcntl.LOCK_EX | fcntl.LOCK_NB),
            ):
                (self.path(digest) / _MARKER).unlink(missing_ok=True)
                self._discard(digest)
        except BlockingIOError:
            return False
        return not self.path(digest).exists()

    def prune(self, *, max_age_s: float | None, max_bytes: int | None, dry_run: bool = False) -> list[Environment]:
        """Remove what was not used for `max_age_s`, then the longest unused until at most `max_bytes` are left.

        None is no limit. What is in use stays, and counts first. Returns what was removed (or would be); half-built
        ones go silently.
        """
        removed, kept_bytes, now_s = [], 0, time.time()
        for environment in self.all():
            digest = environment.digest
            too_old = max_age_s is not None and now_s - self.used_s(digest) > max_age_s
            too_much = max_bytes is not None and kept_bytes + environment.size_bytes > max_bytes
            if (too_old or too_much) and (not self.in_use(digest) if dry_run else self.remove(digest)):
                removed.append(environment)
            else:
                kept_bytes += environment.size_bytes
        if not dry_run:
            for digest in self.unfinished():
                self.remove(digest)
        return removed

    def _digests(self) -> list[str]:
        try:
            return [entry.name for entry in self.root.iterdir() if _DIGEST.fullmatch(entry.name)]
        except OSError:
            return []

    def _prepare(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)

    def _lock(self, digest: str, kind: str) -> Path:
        return self.root / f"{digest}.{kind}"

    @contextlib.contextmanager
    def _locked(self, digest: str, kind: str, how: int) -> Iterator[None]:
        """Hold a lock for the block; raises BlockingIOError where `how` says not to wait."""
        fd = self._open_lock(digest, kind)
        try:
            fcntl.flock(fd, how)
            yield
        finally:
            os.close(fd)

    def _open_lock(self, digest: str, kind: str) -> int:
        path, how = self._lock(digest, kind), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(path, how, 0o600)
        except (IsADirectoryError, FileNotFoundError):  # a directory, or a link to nowhere: nobody can have locked it
            make_room(path)
            return os.open(path, how, 0o600)

    def _discard(self, digest: str) -> None:
        """Remove a file or a directory that is no complete environment."""
        if self.find(digest) is None:
            with contextlib.suppress(OSError):
                make_room(self.path(digest))


# Made here, before there are threads: where two meet a type for the first time at once, msgspec (0.22) can end the
# process with a segmentation fault.
_environment = msgspec.json.Decoder(Environment)


def _read(folder: Path) -> Environment | None:
    try:
        found = _environment.decode((folder / _MARKER).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not os.access(folder / "bin" / "python", os.X_OK):
        return None
    return found if installed_names(folder) == found.installed_names else _surveyed(folder, found)


def _surveyed(folder: Path, environment: Environment) -> Environment:
    """An environment that is not any more what was built, with what there is."""
    there = survey.packages([str(path) for path in _site_packages(folder)])
    packages = msgspec.convert(there, dict[str, Package])
    return msgspec.structs.replace(environment, packages=packages, changed=True)


def installed_names(folder: Path) -> tuple[str, ...]:
    """The names of the directories that say what is installed in an environment, and in which version."""
    names = [entry.name for path in _site_packages(folder) for entry in os.scandir(path)]
    return tuple(sorted(name for name in names if name.endswith((".dist-info", ".egg-info"))))


def _site_packages(folder: Path) -> list[Path]:
    return sorted(folder.glob("lib/python*/site-packages"))


def size_bytes(folder: Path) -> int:
    """The bytes of all files of an environment; those that it shares with uv's cache by hard links count in full."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - tens of thousands of files
    return total
