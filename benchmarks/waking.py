"""How long the first request to a model that sleeps waits for its answer.

    python benchmarks/waking.py [--times N] [--state DIR]

The news model, with `replicas: {min: 0, max: 2}` and `idle_s: 1`: it is asked once, on a connection of its own,
each time that it sleeps.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import yaml

sys.path[:0] = [str(Path(__file__).resolve().parent)]

from beside.models import prepare  # noqa: E402 - run as a script
from beside.processes import Running, free_port, pss_mb  # noqa: E402 - run as a script
from fleet import HEADRACE, PATIENCE_S, TEXT, answers  # noqa: E402 - run as a script


def asleep(admin: int) -> bool:
    """Whether the model sleeps."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/api/models", timeout=30) as answer:
            return bool(json.load(answer)["models"][0]["state"] == "ASLEEP")
    except OSError:
        return False


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--state", type=Path, default=Path(".bench"))
    given = parser.parse_args()
    model = prepare(given.state, {"topic"})["topic"].absolute()
    body = json.dumps({"inputs": [TEXT]})
    with tempfile.TemporaryDirectory(prefix="waking-") as text:
        folder, port, admin = Path(text), free_port(), free_port()
        document = {
            "gateway": {"port": port},
            "admin": {"port": admin},
            "home": str(folder / "home"),
            "models": {
                "m": {"uri": str(model), "environment": "local", "replicas": {"min": 0, "max": 2}, "idle_s": 1.0}
            },
        }
        (folder / "headrace.yaml").write_text(yaml.safe_dump(document))
        command = [HEADRACE, "serve", "--config", str(folder / "headrace.yaml")]
        running = Running(command, log=folder / "log", environ={}, directory=folder)
        took_s: list[float] = []
        try:
            while len(took_s) < given.times:
                if time.monotonic() - running.started_s > PATIENCE_S:
                    raise SystemExit((folder / "log").read_text()[-3000:])
                if not asleep(admin):
                    time.sleep(0.05)
                    continue
                time.sleep(1.2)  # until the replica's process has ended, too
                began_s = time.monotonic()
                if not answers(port, "/models/m/invocations", body):
                    raise SystemExit((folder / "log").read_text()[-3000:])
                took_s.append(time.monotonic() - began_s)
            while not asleep(admin):
                time.sleep(0.05)
            time.sleep(2.0)
            held = sum(pss_mb(process.pid) for process in running.tree() if "role=host" in " ".join(process.cmdline()))
        finally:
            running.stop()
    took_s.sort()
    p50, p99 = (took_s[min(len(took_s) - 1, int(len(took_s) * share))] * 1000 for share in (0.5, 0.99))
    print(
        f"first answer, {len(took_s)} times: p50 {p50:.0f} ms, p99 {p99:.0f} ms; asleep, its host holds {held:.0f} MB"
    )


if __name__ == "__main__":
    main()
