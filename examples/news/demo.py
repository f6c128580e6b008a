"""The whole demo: train and register the two news models where that is still to be done, then serve them.

    python -m news.demo [--state-dir DIR]

The serving process takes this one's place, so that Ctrl-C, signals and exit codes are headrace's own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

_CONFIG = """\
# Written by `make demo`; `headrace serve --config {path}` serves the same again.
registry: {{tracking_uri: "{tracking_uri}", poll_s: 5}}
admin:    {{host: 127.0.0.1, port: 5100}}
models:
  classification: {{uri: "models:/classification@production", port: 5001, replicas: 2}}
  sentiment:      {{uri: "models:/sentiment/Production",      port: 5002, replicas: 1}}
home: "{home}"
"""


def main() -> NoReturn:
    """Train, register, write the configuration, and become `headrace serve`; returns only when training failed."""
    parser = argparse.ArgumentParser(prog="python -m news.demo", description="Train and serve the two news models.")
    parser.add_argument("--state-dir", type=Path, default=Path(".demo"), help="where everything is kept")
    state = parser.parse_args().state_dir.absolute()
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
