"""What the metrics cost: a scrape under full load, the throughput with and without scrapes, and counting a request.

    python benchmarks/metrics.py [--rounds 6] [--seconds 8] [--connections 64] [--models 3]

A registry with one small model is made and served under several names; wrk asks the first of them as fast as it can.
Rounds with a scrape every second and rounds without one take turns. Client and server share the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from headrace.gateway.counters import PoolCounters  # noqa: E402 - run as a script
from headrace_worker.wire import Timing  # noqa: E402 - run as a script
from tests.integration.serving import Serving, ask, serving  # noqa: E402 - run as a script

SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"inputs": ["good great happy"]}'
"""


class Scraper:
    """Scrapes every second while it is open; `took_s` are the times of all scrapes."""

    def __init__(self, one: Serving) -> None:
        self.took_s: list[float] = []
        self.size_bytes = 0
        self._url = f"{one.admin}/metrics"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            started_s = time.perf_counter()
            answer = ask(self._url)
            self.took_s.append(time.perf_counter() - started_s)
            self.size_bytes = len(answer.body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def load(url: str, script: Path, connections: int, seconds: int) -> float:
    """Requests answered in a second; anything but 200 ends the run."""
    wrk = shutil.which("wrk") or "wrk"
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}", "-s", str(script), f"{url}/invocations"]
    out = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(out)
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    return float(found[1]) if found else 0.0


def counting_us(requests: int) -> float:
    """What counting costs for each request of a batch of so many: what `Pool._deliver` and `answered` count."""
    counters = PoolCounters()
    timing = Timing(40, 900, 12, 1)

    def count() -> None:
        statuses = counters.statuses
        arrived_s: list[float] = []
        rows = batch_rows = 0
        for _ in range(requests):
            batch_rows += 1
            statuses[200] = statuses.get(200, 0) + 1
            rows += 1
            arrived_s.append(1.0)
        counters.latency.observe_since(1.0031, arrived_s)
        counters.wait.observe_since(1.0007, arrived_s)
        counters.rows += rows
        counters.batch(timing, requests, batch_rows)

    number = max(1, 20_000 // requests)
    return min(timeit.repeat(count, number=number, repeat=7)) / number / requests * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="of each kind")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--models", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        script = directory / "post.lua"
        script.write_text(SCRIPT, encoding="utf-8")
        uri = f"sqlite:///{directory / 'mlflow.db'}"
        build = [sys.executable, str(ROOT / "tests/integration/build_pair.py"), uri]
        subprocess.run(build, check=True, capture_output=True, cwd=directory)
        models = {
            f"pair-{number}": {"uri": "models:/pair/1", "port": 0, "environment": "local"}
            for number in range(options.models)
        }
        config = {"registry": {"tracking_uri": uri}, "admin": {"port": 0}, "models": models}
        rates: dict[bool, list[float]] = {False: [], True: []}
        with serving(directory, config) as one:
            url = one.url("pair-0")
            for number in range(options.models):
                one.url(f"pair-{number}")
            load(url, script, options.connections, 3)
            scraper_times: list[float] = []
            size_bytes = 0
            for number in range(options.rounds):
                for scraped in ((False, True), (True, False))[number % 2]:
                    if scraped:
                        with Scraper(one) as scraper:
                            rates[True].append(load(url, script, options.connections, options.seconds))
                        scraper_times += scraper.took_s
                        size_bytes = scraper.size_bytes
                    else:
                        rates[False].append(load(url, script, options.connections, options.seconds))
        without, with_ = statistics.median(rates[False]), statistics.median(rates[True])
        pairs = [b / a - 1 for a, b in zip(rates[False], rates[True], strict=True)]
        result = {
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
            "models": options.models,
            "requests_per_s": {"without": round(without), "scraped_every_s": round(with_)},
            "change_percent": {
                "of_medians": round((with_ / without - 1) * 100, 2),
                "median_of_pairs": round(statistics.median(pairs) * 100, 2),
                "spread_without_scrapes": round(statistics.pstdev(rates[False]) / without * 100, 2),
            },
            "scrape_ms": {
                "median": round(statistics.median(scraper_times) * 1e3, 1),
                "worst": round(max(scraper_times) * 1e3, 1),
                "scrapes": len(scraper_times),
                "bytes": size_bytes,
            },
            "counting_us_per_request": {f"batch_of_{n}": round(counting_us(n), 2) for n in (1, 8, 64)},
        }
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
