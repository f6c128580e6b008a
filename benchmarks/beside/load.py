"""Runs wrk."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("load.lua")


class LoadFailed(Exception):
    """wrk did not say what it measured, or requests failed."""


@dataclass(frozen=True)
class Load:
    """What one run measured: `bad` answers had another status than 2xx or 3xx, `broken` ones did not come."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    bad: int
    broken: int

    @property
    def per_s(self) -> float:
        """Good answers a second."""
        return (self.requests - self.bad) / self.seconds


def run(port: int, requests: Iterable[tuple[str, str]], *, connections: int, seconds: float) -> Load:
    """Send `requests` (path, body) in turn over so many connections. Raises LoadFailed."""
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.writelines(f"{path}\t{body}\n" for path, body in requests)
        file.flush()
        done = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "20s", "--latency",  # noqa: S607
             "-s", str(_SCRIPT), f"http://127.0.0.1:{port}/", "--", file.name],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    line = next((one for one in done.stdout.splitlines() if one.startswith("RESULT ")), None)
    if line is None:
        raise LoadFailed((done.stdout + done.stderr).strip()[-300:])
    found = json.loads(line.removeprefix("RESULT "))
    return Load(
        requests=found["requests"],
        seconds=found["duration_us"] / 1e6,
        p50_ms=found["p50_us"] / 1000,
        p99_ms=found["p99_us"] / 1000,
        bad=found["bad"],
        broken=found["broken"],
    )
