"""Which Pythons the tests of environments find on this machine: told on standard error, the missing ones on output.

python tools/pythons.py VERSION...
"""

from __future__ import annotations

import os
import sys

from headrace.core.errors import InterpreterMissing
from headrace.environments.interpreters import find_interpreter


def main(versions: list[str]) -> None:
    """Look for each version as a server would."""
    for version in versions:
        try:
            found = find_interpreter(version, (), os.environ)
        except InterpreterMissing:
            sys.stderr.write(f"Python {version}: none; what needs it is skipped\n")
            sys.stdout.write(f"{version}\n")
        else:
            sys.stderr.write(f"Python {version}: {found.version} at {found.path} ({found.source})\n")


if __name__ == "__main__":
    main(sys.argv[1:])
