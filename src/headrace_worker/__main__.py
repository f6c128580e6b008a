"""Start a worker by this file's path, with any interpreter, and without adding anything to its import path.

    python .../headrace_worker/__main__.py JSON role=host

Running a file puts its folder first on ``sys.path``; a module of ours there could shadow one of the model's. So the
folder is taken off the path, and the package is registered under its name alone.
"""

import importlib.util
import os
import sys


def _register() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or os.getcwd()) != here]
    spec = importlib.util.spec_from_file_location(
        "headrace_worker", os.path.join(here, "__init__.py"), submodule_search_locations=[here]
    )
    if spec is None or spec.loader is None:
        raise SystemExit(f"headrace_worker cannot be loaded from {here}")
    package = importlib.util.module_from_spec(spec)
    sys.modules["headrace_worker"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _register()
    from headrace_worker.host import main

    sys.exit(main(sys.argv[1]))
