"""Installs a wheel into an environment of its own for each Python, as a user would, and serves a model from there.

python tools/try_wheel.py WHEEL VERSION... [--required]

A Python that is not on this machine is told and left out; with --required it fails the run. Ends with 1 where an
installation fails, or a model does not answer. An interpreter takes about 15 s.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from headrace.client import ClientError, connect
from headrace.core.errors import InterpreterMissing
from headrace.environments.interpreters import find_interpreter

ROOT = Path(__file__).parents[1]
PATIENCE_S = 120
MODEL = """\
import mlflow
from mlflow.pyfunc.model import PythonModel


class Upper(PythonModel):
    def predict(self, context, model_input, params=None):
        return [str(text).upper() for text in model_input]


mlflow.models.set_model(Upper())
"""


class Failed(Exception):
    """It does not work; says what was done and what came of it."""


def main() -> int:
    """Try each version; returns the exit code."""
    parser = argparse.ArgumentParser(description="Install and serve from a wheel.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("versions", nargs="+")
    parser.add_argument("--required", action="store_true", help="fail where a Python is missing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-wheel-") as scratch:
        model = _model(Path(scratch))
        for version in options.versions:
            begun_s = time.monotonic()
            try:
                found = find_interpreter(version, (), os.environ)
            except InterpreterMissing:
                sys.stdout.write(f"Python {version}: none on this machine, NOT tried\n")
                if options.required:
                    return 1
                continue
            try:
                answer = _try(Path(found.path), options.wheel.absolute(), model, Path(scratch, version))
            except Failed as error:
                sys.stderr.write(f"Python {version}: {error}\n")
                return 1
            took_s = time.monotonic() - begun_s
            sys.stdout.write(f"Python {found.version}: installed, served {answer} in {took_s:.0f} s\n")
            sys.stdout.flush()
    return 0


def _model(scratch: Path) -> Path:
    """A model made of code, which loads in every Python."""
    code, model = scratch / "upper.py", scratch / "model"
    code.write_text(MODEL, encoding="utf-8")
    import mlflow  # noqa: PLC0415 - takes seconds

    mlflow.pyfunc.save_model(str(model), python_model=str(code), pip_requirements=["mlflow-skinny", "pandas"])
    return model


def _try(python: Path, wheel: Path, model: Path, place: Path) -> str:
    """Install, ask for the version, serve; returns the answer."""
    uv, own = ROOT / ".venv/bin/uv", place / "venv/bin/python"
    constraints = ROOT / "constraints.txt"
    _run([uv, "venv", "--quiet", "--python", python, place / "venv"])
    install = [uv, "pip", "install", "--quiet", "--python", own, "--constraint", constraints]
    _run([*install, wheel])
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environ |= {"HOME": str(place), "HEADRACE_HOME": str(place / "home")}
    for command in ([own, "-m", "headrace"], [place / "venv/bin/headrace"]):
        if "headrace" not in _run([*command, "--version"], environ) or not _run([*command, "--help"], environ):
            raise Failed(f"{command} does not say what it is")
    _run([*install, "pandas"])  # what the model asks for: all above goes without
    serve = [own, "-m", "headrace", "serve", "-m", model, "-p", "0", "--admin-port", "0", "--log-format", "json"]
    with subprocess.Popen(
        [*map(str, serve), "--env-manager", "local"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environ, cwd=place,
    ) as serving:  # fmt: skip
        try:
            return _ask(serving)
        finally:
            serving.send_signal(signal.SIGTERM)
            try:
                code = serving.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                serving.kill()
                code = -9
            if code and sys.exc_info()[0] is None:
                raise Failed(f"headrace serve ended with {code}")


def _ask(serving: subprocess.Popen[str]) -> str:
    """Wait for the address, which its log has, and send one request."""
    assert serving.stderr is not None  # noqa: S101 - a pipe was asked for
    lines: list[str] = []
    for line in serving.stderr:
        lines.append(line)
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "up":
            try:
                with connect(event["address"], deadline_s=PATIENCE_S) as asked:
                    answer = asked.predict(["a text"])
            except ClientError as error:
                raise Failed(f"{error}; its log: {''.join(lines)}") from None
            if answer != ["A TEXT"]:
                raise Failed(f"answered {answer}")
            return str(answer)
    raise Failed(f"ended before it served: {''.join(lines)}")


def _run(command: list[str | Path], environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, timeout=PATIENCE_S, env=environ
    )
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
