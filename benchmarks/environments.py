"""How long a model's environment takes: cold (empty cache), with uv's cache warm, and when it is there already.

    .venv/bin/python benchmarks/environments.py [--python 3.12] [--runs 3] [REQUIREMENT ...]

Everything happens in a folder that is removed afterwards; the user's index settings are used, the user's cache is not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from headrace.config.tree import Environments as Settings
from headrace.environments.preparing import Environments
from headrace.telemetry.logs import make_log

REQUIREMENTS = ["mlflow==2.14.3", "scikit-learn==1.5.0", "scipy==1.13.0", "numpy==1.26.4", "pandas==2.2.2"]
BUILD = ["pip==24.0", "setuptools==70.0.0", "wheel==0.43.0"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requirements", nargs="*", default=REQUIREMENTS)
    parser.add_argument("--python", default="3.12")
    parser.add_argument("--runs", type=int, default=3, help="of the warm build; reuse is measured 20 times as often")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-benchmark-") as name:
        measure(Path(name), arguments.requirements, arguments.python, arguments.runs)


def measure(folder: Path, requirements: list[str], python: str, runs: int) -> None:
    """Print a table of what preparing an environment takes, in seconds."""
    model = folder / "model"
    model.mkdir()
    (model / "requirements.txt").write_text("\n".join(requirements), encoding="utf-8")
    lines = [f"python: '{python}'", "build_dependencies:", *(f"- {line}" for line in BUILD)]
    (model / "python_env.yaml").write_text("\n".join(lines), encoding="utf-8")
    environ = {**os.environ, "UV_CACHE_DIR": str(folder / "cache")}

    def prepare() -> tuple[float, Environments]:
        environments = Environments(folder / "home", Settings(), environ)  # as a server that has just started
        log = make_log("json", "error", sys.stderr)
        started_s = time.perf_counter()
        asyncio.run(environments.prepare(model, "exact", None, log))
        return time.perf_counter() - started_s, environments

    cold_s, environments = prepare()
    (built,) = environments.store.all()
    warm_s = []
    for _ in range(runs):
        shutil.rmtree(folder / "home" / "envs")
        warm_s.append(prepare()[0])
    reuse_s = [prepare()[0] for _ in range(20 * runs)]
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores; Python {built.python}, "
          f"{len(built.packages)} packages, {built.size_bytes / 1e6:,.0f} MB")  # fmt: skip
    print(f"{'':<28}{'median':>10}{'best':>10}{'worst':>10}")
    for name, values in (("cold (everything fetched)", [cold_s]), ("uv's cache warm", warm_s), ("reuse", reuse_s)):
        print(f"{name:<28}{statistics.median(values):>9.4f}s{min(values):>9.4f}s{max(values):>9.4f}s")


if __name__ == "__main__":
    main()
