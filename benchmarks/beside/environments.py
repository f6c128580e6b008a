"""A virtual environment for each peer, made with uv in a cache directory, with the model's own package versions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PEERS = {
    "mlserver": ("mlserver==1.7.*", "mlserver-mlflow==1.7.*"),
    "bentoml": ("bentoml==1.4.*",),
    "litserve": ("litserve==0.2.*",),
    "ray": ("ray[serve]>=2.50,<3",),
}
SHARED = ("mlflow", "scikit-learn", "pandas", "numpy", "scipy", "skops")


class NotInstalled(Exception):
    """A peer's environment cannot be made; the message is the installer's last line."""


def ensure(name: str, cache: Path) -> Path:
    """Return the interpreter of the peer's environment, made the first time. Raises NotInstalled."""
    home = cache / "peers" / name
    python = home / "bin" / "python"
    marker = home / ".complete"
    wanted = "\n".join((*PEERS[name], *(f"{p}=={version(p)}" for p in SHARED)))
    if marker.exists() and marker.read_text() == wanted:
        return python
    uv = str(Path(sys.executable).with_name("uv"))
    environ = {"UV_INDEX_STRATEGY": "unsafe-best-match", **os.environ, **_settings_of_pip()}
    for command in (
        [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(home)],
        [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *wanted.split("\n")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        if done.returncode:
            raise NotInstalled(" ".join(done.stderr.split())[-300:] or f"uv ended with {done.returncode}")
    marker.write_text(wanted)
    return python


def versions(python: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """Which versions of `packages` an environment holds."""
    code = "import sys; from importlib.metadata import version\nfor p in sys.argv[1:]: print(version(p))"
    out = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=False).stdout.split()
    return dict(zip(packages, out, strict=False))


def _settings_of_pip() -> dict[str, str]:
    """Where packages come from, for uv, which does not read pip's settings."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found = dict(re.findall(r"^\S*?\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    names = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS",
             "cert": "SSL_CERT_FILE"}  # fmt: skip
    return {
        names[key]: " ".join(value.replace("\\n", " ").split())
        for key, value in found.items()
        if key in names and names[key] not in os.environ
    }
