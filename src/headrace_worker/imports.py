"""Which modules of its environment a process has imported: what another may import before it is asked to.

Only what is installed there counts, and the worker's own. What a model brings in its directory is the model's, and
another model may have something else under the same name.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from typing import Any, List, Set, Tuple  # noqa: UP035 - runs on Python 3.8


def installed_since(before: Set[str]) -> List[str]:  # noqa: UP006
    """The installed modules that are there and not in `before`, in the order in which their imports began."""
    places = _places()
    return [
        name for name, module in list(sys.modules.items()) if name not in before and _origin(module).startswith(places)
    ]


def _places() -> Tuple[str, ...]:  # noqa: UP006
    paths = sysconfig.get_paths()
    folders = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.update(getattr(site, "getsitepackages", list)())
    folders.add(os.path.dirname(os.path.abspath(__file__)))
    return tuple(folder + os.sep for folder in folders)


def _origin(module: Any) -> str:
    """The file that a module was made from; empty where there is none."""
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    return origin if isinstance(origin, str) else ""
