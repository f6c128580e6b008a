"""The files of headrace's home directory, and what stands in their place when somebody or some disk has damaged it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

Tell = Callable[[str], None]
"""Is told in one sentence what was found and removed."""


def make_room(path: Path) -> bool:
    """Remove what is at `path`, and never what a link there points to; False where nothing stands there.

    Raises OSError where it cannot be removed.
    """
    if not os.path.lexists(path):
        return False
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return True
    path.chmod(0o700)  # it is ours: what may not be read or written is made so, from the top down
    for parent, folders, _ in os.walk(path):
        for folder in folders:
            inner = Path(parent, folder)
            if not inner.is_symlink():
                inner.chmod(0o700)
    shutil.rmtree(path)
    return True


def replace_file(path: Path, data: bytes, tell: Tell | None = None) -> None:
    """Write a file beside its place and rename it, so that no reader sees half of it; what stands there is replaced.

    Raises OSError, and leaves nothing then.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        beside = Path(file.name)
        try:
            file.write(data)
            file.close()
            try:
                beside.replace(path)
            except (IsADirectoryError, NotADirectoryError):
                make_room(path)
                beside.replace(path)
                if tell is not None:
                    tell(f"a directory stood in the place of the file {path}, and was removed")
        except OSError:
            beside.unlink(missing_ok=True)
            raise
