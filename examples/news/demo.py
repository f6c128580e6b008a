"""The whole demo: train and register the two news models where that is still to be done, then serve them.

    python -m news.demo [--state-dir DIR]

The serving process takes this one's place, so that Ctrl-C, signals and exit codes are headrace's own.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

_PORTS = (5001, 5002, 5100)
_CONFIG = """\
# Written by `make demo`; `headrace serve --config {path}` serves the same again.
registry: {{tracking_uri: "{tracking_uri}", poll_s: 5}}
admin:    {{host: 127.0.0.1, port: 5100}}
models:
  classification: {{uri: "models:/classification@production", port: 5001, replicas: 2}}
  sentiment:      {{uri: "models:/sentiment/Production",      port: 5002, replicas: 1}}
home: "{home}"
"""


def busy(ports: Iterable[int]) -> list[int]:
    """Those of `ports` on loopback that somebody has."""
    found = []
    for port in ports:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                found.append(port)
    return found


def main() -> NoReturn:
    """Train, register, write the configuration, and become `headrace serve`; returns only when that cannot be done.

    Exit code 2 where a port is busy, known before the minutes that training takes; training's own where it failed.
    """
    parser = argparse.ArgumentParser(prog="python -m news.demo", description="Train and serve the two news models.")
    parser.add_argument("--state-dir", type=Path, default=Path(".demo"), help="where everything is kept")
    state = parser.parse_args().state_dir.absolute()
    if taken := busy(_PORTS):
        ports = ", ".join(map(str, taken))
        sys.stderr.write(f"demo: in use: port {ports}; stop what has it (another demo?) and try again\n")
        sys.exit(2)
    trained = subprocess.run([sys.executable, "-m", "news.train", "--state-dir", str(state)], check=False)
    if trained.returncode:
        sys.exit(trained.returncode)
    tracking_uri = f"sqlite:///{state / 'mlflow.db'}"
    config = state / "headrace.yaml"
    config.write_text(_CONFIG.format(path=config, tracking_uri=tracking_uri, home=state / "headrace"), encoding="utf-8")
    headrace = Path(sys.executable).with_name("headrace")
    sys.stdout.flush()
    os.execv(headrace, [str(headrace), "serve", "--config", str(config)])  # noqa: S606 - a list, no shell


if __name__ == "__main__":
    main()
