"""What clients see while versions change: p99 during moves beside steady, and a picture of swaps under load.

    python benchmarks/rollouts.py [--moves 9] [--clients 64] [--pause-ms 20] [--picture docs/rollouts.svg]

A registry with three small versions is made, headrace serves one of them, and the alias moves under constant load.
Client, server and registry share the machine. `moving` is everything from the move of the alias until the new version
answers every request; `steady` is the time before the first move.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.integration.moving import Registry  # noqa: E402 - run as a script
from tests.integration.serving import ask, serving, until  # noqa: E402 - run as a script
from tests.integration.swarm import Swarm  # noqa: E402 - run as a script

BIN_S = 0.1
DRAWN_BINS = 5
"""How many bins the picture shows as one."""

TEXT = {"inputs": ["good great happy"]}
COLOURS = {"pair/1": "#4477aa", "pair/2": "#ee6677", "pair/3": "#228833"}


def quantile(values: array[float], share: float) -> float:
    """The value below which `share` of them lie, in seconds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def collect(swarm: Swarm, spans: list[tuple[float, float]]) -> array[float]:
    """Every latency of the bins that lie in one of the spans (seconds since the start)."""
    found = array("f")
    for (number, _), values in swarm.latencies_s.items():
        if any(begin <= number * BIN_S < end for begin, end in spans):
            found.extend(values)
    return found


def draw(swarm: Swarm, moves: list[tuple[float, float, str]], file: Path) -> None:
    """Requests per second and latency by version over time; a line where an alias moved, one where traffic did."""
    import matplotlib as mpl  # noqa: PLC0415 - only where a picture is wanted

    mpl.use("svg")
    import matplotlib.pyplot as plt  # noqa: PLC0415
    from matplotlib.ticker import LogLocator, ScalarFormatter  # noqa: PLC0415 - as above

    # By the time it came: version and latencies, a bin wide enough to show a trend and narrow enough to show a stall.
    drawn: defaultdict[str, defaultdict[int, array[float]]] = defaultdict(lambda: defaultdict(lambda: array("f")))
    last = max(number for number, _ in swarm.latencies_s) // DRAWN_BINS  # the last is cut short by the end
    for (number, label), values in swarm.latencies_s.items():
        if number // DRAWN_BINS < last:
            drawn[label][number // DRAWN_BINS].extend(values)
    width_s = DRAWN_BINS * BIN_S
    times_s = [number * width_s for number in range(last)]
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(10, 5.5), layout="constrained")
    rates = [[len(drawn[label][number]) / width_s for number in range(last)] for label in COLOURS]
    above.stackplot(times_s, rates, labels=list(COLOURS), colors=list(COLOURS.values()), step="post", linewidth=0)
    for share, style, name in ((0.99, ":", "p99"), (0.5, "-", "p50")):
        for label, colour in COLOURS.items():
            values = [quantile(drawn[label][n], share) * 1000 if drawn[label][n] else None for n in range(last)]
            below.step(times_s, values, style, where="post", color=colour, linewidth=1.4)
        below.plot([], [], style, color="black", linewidth=1.4, label=name)
    for number, (moved_s, flipped_s, _) in enumerate(moves):
        above.axvline(moved_s, color="black", linestyle=":", linewidth=0.8)
        below.axvspan(moved_s, flipped_s, color="#dddddd", linewidth=0, label="" if number else "being brought up")
    above.set_ylabel("requests/s")
    above.set_xlim(0, last * width_s)
    below.set_ylabel("latency, ms")
    below.set_yscale("log")
    below.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    below.yaxis.set_major_formatter(ScalarFormatter())
    below.yaxis.set_minor_locator(LogLocator(subs=()))
    below.set_xlabel("seconds; dotted: the alias moves")
    for axis in (above, below):
        axis.spines[["top", "right"]].set_visible(False)
    above.legend(loc="lower left", ncols=3)
    below.legend(loc="upper right", ncols=3, frameon=False)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Measure, print, and draw where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=9)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--pause-ms", type=float, default=20.0)
    parser.add_argument("--steady-s", type=float, default=10.0)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        uri = f"sqlite:///{directory / 'mlflow.db'}"
        build = [sys.executable, str(ROOT / "tests/integration/build_pair.py"), uri]
        subprocess.run(build, check=True, capture_output=True, cwd=directory)
        model = {"uri": "models:/pair@moving", "port": 0, "environment": "local", "rollout": {"bake_s": 0}}
        config = {"registry": {"tracking_uri": uri, "poll_s": 0.5}, "admin": {"port": 0}, "models": {"pair": model}}
        moves: list[tuple[float, float, str]] = []
        with Registry(uri) as registry:
            registry.point("pair", "moving", "1")
            with serving(directory, config) as one:
                url = f"{one.url('pair')}/invocations"
                with Swarm(url, TEXT, options.clients, pause_s=options.pause_ms / 1000, bin_s=BIN_S) as swarm:
                    time.sleep(options.steady_s + 2.0)
                    for number in range(1, options.moves + 1):
                        version = ("1", "2", "3")[number % 3]
                        moved_s = time.perf_counter() - swarm.started_s
                        swarm.expect(None)
                        registry.point("pair", "moving", version)
                        until(lambda: in_force(one.admin, f"pair/{version}"), "the flip")  # noqa: B023
                        swarm.expect(f"pair/{version}")
                        moves.append((moved_s, time.perf_counter() - swarm.started_s, version))
                        time.sleep(3.0)
        steady = collect(swarm, [(2.0, moves[0][0])])
        moving = collect(swarm, [(begin, end) for begin, end, _ in moves])
        result = {
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
            "answers": swarm.answered,
            "failed": sum(swarm.failed.values()),
            "wrong_version": sum(swarm.wrong.values()),
            "move_median_s": round(statistics.median(end - begin for begin, end, _ in moves), 2),
            "steady": {
                "p50_ms": round(quantile(steady, 0.5) * 1e3, 2),
                "p99_ms": round(quantile(steady, 0.99) * 1e3, 2),
            },
            "moving": {
                "p50_ms": round(quantile(moving, 0.5) * 1e3, 2),
                "p99_ms": round(quantile(moving, 0.99) * 1e3, 2),
            },
            "p99_ratio": round(quantile(moving, 0.99) / quantile(steady, 0.99), 2),
        }
        print(json.dumps(result, indent=2))
        if options.picture:
            draw(swarm, moves, options.picture)


def in_force(admin: str, label: str) -> bool:
    """Whether every gateway sends every new request to this version."""
    status = ask(f"{admin}/api/models").json
    (model,) = status["models"]
    return bool(status["gateways"]["in_force"] and model["current"] and model["current"]["label"] == label)


if __name__ == "__main__":
    main()
