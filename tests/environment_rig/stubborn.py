"""A source archive whose build does what a test wants: waits for a file, or fails."""

import io
import tarfile
from pathlib import Path

_BACKEND = """
import pathlib, sys, time

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    pathlib.Path({started!r}).touch()
    while not pathlib.Path({gate!r}).exists():
        time.sleep(0.02)
    sys.exit({says!r})
"""


def stubborn(folder: Path, name: str = "stubborn", says: str = "the compiler is missing") -> tuple[Path, Path]:
    """Put version 1.0 of a package into `folder`; returns the file that says its build has started, and its gate.

    The build waits until the gate is there, and then fails with what it `says`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    started, gate = folder.parent / f"{name}-started", folder.parent / f"{name}-gate"
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\n',
        "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: 1.0\n",
        "backend.py": _BACKEND.format(started=str(started), gate=str(gate), says=says),
    }
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as archive:
        for path, text in files.items():
            info = tarfile.TarInfo(f"{name}-1.0/{path}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return started, gate
