"""Gathers the wheels of a whole environment and writes its lock, so that it can be built anew without an index."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename

from headrace.core.errors import EnvironmentBuildFailed
from headrace.environments.building import lock_file
from headrace.environments.indexes import pip_environ
from headrace.environments.store import Environment

_REASON_CHARS = 1500


def gather(environment: Environment, model: Path, into: Path, environ: Mapping[str, str], *, sources: bool) -> Path:
    """Have every package of `environment` as a wheel in `into`, beside its lock; returns the lock's path.

    `model` is the directory that holds the files that its requirements name. What exists as source only is built, if
    `sources` allows it. Takes seconds to minutes, and the network. Raises EnvironmentBuildFailed with pip's words.
    """
    into.mkdir(parents=True, exist_ok=True)
    local = [(model / name).absolute().as_uri() for name in environment.spec.requirements.paths]
    named = [
        f"{name} @ {package.url}" if package.url else f"{name}=={package.version}"
        for name, package in sorted(environment.packages.items())
        if not (package.url or "").startswith("file:")
    ]
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        # uv downloads no wheels into a directory: pip does, run by the environment's own interpreter.
        tools, fresh = Path(folder, "tools"), Path(folder, "wheels")
        _run([environment.interpreter, "-m", "venv", str(tools)], environ)
        pip = [str(tools / "bin" / "python"), "-m", "pip", "wheel", "--no-deps", "--disable-pip-version-check"]
        only = [] if sources else ["--only-binary", ":all:"]
        listed = Path(folder, "packages.txt")
        listed.write_text("".join(f"{line}\n" for line in [*named, *local]), encoding="utf-8")
        _run(
            [*pip, *only, "--find-links", str(into), "--wheel-dir", str(fresh), "--requirement", str(listed)],
            pip_environ(environ),
        )
        wheels = sorted(fresh.glob("*.whl"))
        for wheel in wheels:
            target = into / wheel.name
            if not target.exists():
                target.write_bytes(wheel.read_bytes())
        lock = lock_file(into, environment.digest)
        lock.write_text("".join(_locked(into / wheel.name) for wheel in wheels), encoding="utf-8")
    missing = {canonicalize_name(name) for name in environment.packages} - {
        parse_wheel_filename(wheel.name)[0] for wheel in wheels
    }
    if missing:
        raise EnvironmentBuildFailed(f"no wheel came for {', '.join(sorted(missing))}")
    return lock


def _locked(wheel: Path) -> str:
    name, version, _, _ = parse_wheel_filename(wheel.name)
    with wheel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{name}=={version} --hash=sha256:{digest}\n"


def _run(command: list[str], environ: Mapping[str, str]) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
        env=dict(environ), cwd="/",
    )  # fmt: skip
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[-_REASON_CHARS:]
        raise EnvironmentBuildFailed(f"{Path(command[0]).name} could not bring the wheels: {said}")
