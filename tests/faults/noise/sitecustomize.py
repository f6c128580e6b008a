"""First on the path of a server under test: its gateway, agent and recorder also write what lies here to it.

Beside this file is a folder for each of them, with a file for each time; it is removed when it is written.
"""

import os
import random
import sys
import threading
import time
from pathlib import Path


def _make_noise(fd: int, files: list[Path]) -> None:
    for file in files:
        time.sleep(random.uniform(0.1, 0.5))
        try:
            data = file.read_bytes()
            file.unlink()
        except FileNotFoundError:
            continue
        os.write(fd, data)


_arguments = sys.orig_argv
if "--control-fd" in _arguments:
    _folder = Path(__file__).parent / _arguments[_arguments.index("-m") + 1]
    _fd = int(_arguments[_arguments.index("--control-fd") + 1])
    threading.Thread(target=_make_noise, args=(_fd, sorted(_folder.iterdir())), daemon=True).start()
