"""What loads of models have imported, kept for the next start: one file an environment, below headrace's home.

Models with the same requirements and the same loader are a family: they import the same, so what one has imported is
imported for all of them, and for no other one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from headrace.environments.preparing import Prepared

_MOST_NAMES = 20_000
_MOST_FAMILIES = 100
_LOADER = re.compile(rb"^\s*loader_module:.*$", re.MULTILINE)
_TELL = (".dist-info", ".egg-info", ".pth")
_FILES = ("requirements.txt", "conda.yaml", "python_env.yaml")


class Record(msgspec.Struct):
    """Of one environment as it is. `left_out`: modules that cannot be imported ahead, and why."""

    stamp: str = ""
    families: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}

    def add(self, family: str, imported: Sequence[str]) -> bool:
        """A model of this family has imported that; returns whether it was news. The newest families are kept."""
        known = self.families.pop(family, [])
        had = set(known)
        new = [name for name in imported if name not in had][: _MOST_NAMES - len(known)]
        self.families[family] = [*known, *new]
        for oldest in [*self.families][:-_MOST_FAMILIES]:
            del self.families[oldest]
        return bool(new)


class Learned:
    """The records below one home. Every call may block on the disk: not for an event loop."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "imports"

    def read(self, prepared: Prepared) -> Record:
        """What is known of an environment; nothing where something was installed or removed since. Raises OSError."""
        now = stamp(prepared)
        with contextlib.suppress(OSError, msgspec.DecodeError):
            record = msgspec.json.decode(self._file(prepared).read_bytes(), type=Record)
            if record.stamp == now:
                return record
        return Record(stamp=now)

    def keep(self, prepared: Prepared, record: Record) -> None:
        """Keep it for the next start; where that cannot be done, the next start learns it anew."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                file.write(msgspec.json.encode(record))
            Path(file.name).replace(self._file(prepared))

    def _file(self, prepared: Prepared) -> Path:
        running = hashlib.sha256(f"{sys.prefix}\0{sys.version}".encode()).hexdigest()[:32]
        return self._folder / f"{prepared.digest or running}.json"


def family(model: str) -> str:
    """The family of the model in a directory. May block on the disk."""
    found = hashlib.sha256()
    for name in _FILES:
        with contextlib.suppress(OSError):
            found.update(name.encode() + (Path(model) / name).read_bytes())
    with contextlib.suppress(OSError):
        for line in _LOADER.findall((Path(model) / "MLmodel").read_bytes()):
            found.update(line.strip())
    return found.hexdigest()[:32]


def stamp(prepared: Prepared) -> str:
    """What is another when something was installed in an environment, removed from it, or it was built anew.

    Raises OSError where that cannot be seen.
    """
    return " ".join(_stamp(folder) for folder in _packages(prepared))


def _packages(prepared: Prepared) -> Iterable[Path]:
    if prepared.digest is None:
        return sorted({Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("platlib"))})
    return sorted(Path(prepared.python).parent.parent.glob("lib*/python3*/site-packages"))


def _stamp(folder: Path) -> str:
    """Of what tells what is installed; the folder itself is another as soon as anything is compiled there."""
    found = hashlib.sha256()
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.endswith(_TELL):
                status = entry.stat()
                found.update(f"{entry.name} {status.st_ino} {status.st_mtime_ns}\n".encode())
    return found.hexdigest()[:32]
