"""Stands in for Python: the first processes write nonsense to their control channel and stay, later ones are real.

The folder `nonsense` in TMPDIR holds it, one file a process; each is removed by the process that writes it.
"""

import os
import signal
import sys
from pathlib import Path


def main() -> None:
    for file in sorted(Path(os.environ["TMPDIR"], "nonsense").iterdir()):
        fd = int(sys.argv[sys.argv.index("--control-fd") + 1])
        data = file.read_bytes()
        file.unlink()
        if data:
            os.write(fd, data)
        else:
            os.close(fd)
        while True:
            signal.pause()
    os.execv(os.environ["PYTHON_REAL"], [os.environ["PYTHON_REAL"], *sys.argv[1:]])  # noqa: S606 - that is Python itself


main()
