"""What logs and traces cost: a gateway with stub workers, one variant after the other, again and again.

    python benchmarks/logs.py [--rounds 5] [--seconds 3] [--connections 64]

Prints requests/s of each variant as a ratio to 'off' of the same round (the median over the rounds), the gateway's CPU
a request, and what was dropped. All variants run on one machine at the same time, idle while another is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent / "gateway")]

from run import BODY, SCRIPT, cpu_s  # noqa: E402 - run as a script

from headrace.core.protocol import messages, records  # noqa: E402 - run as a script
from tests.gateway_rig.recorder import RecorderRig  # noqa: E402 - run as a script
from tests.gateway_rig.rig import GatewayRig  # noqa: E402 - run as a script


class Void(BaseHTTPRequestHandler):
    """A collector that takes everything and keeps nothing."""

    def do_POST(self) -> None:
        """Called by the server."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def variants(directory: Path, otlp: str) -> dict[str, tuple[dict[str, object], dict[str, object], float | None]]:
    """What the recorder is opened with, what the gateway tells it, and the share of requests in the prediction log."""

    def kept(name: str) -> dict[str, object]:
        log = records.PredictionLog(directory=str(directory / name), max_file_bytes=256 << 20)
        return {"predictions": {"topic": log}}

    return {
        "access sampled (1 %)": ({}, {"access": "sampled", "access_sample": 0.01}, None),
        "access full": ({}, {"access": "full"}, None),
        "prediction log (1 %)": (kept("share"), {}, 0.01),
        "prediction log (all)": (kept("all"), {}, 1.0),
        "traces (1 %)": ({"traces": True, "otlp_endpoint": otlp}, {"trace_sample": 0.01}, None),
    }


def main() -> int:
    """Start everything, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        collector = ThreadingHTTPServer(("127.0.0.1", 0), Void)
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        stack.callback(collector.shutdown)
        script = directory / "post.lua"
        script.write_text(SCRIPT % BODY)
        rigs = {"off": (stack.enter_context(GatewayRig()), None)}
        wanted = variants(directory, f"http://127.0.0.1:{collector.server_address[1]}")
        for i, (name, (opened, told, _)) in enumerate(wanted.items()):
            recorder = stack.enter_context(RecorderRig(directory / f"{i}.log", **opened))
            rigs[name] = (stack.enter_context(GatewayRig(recording=recorder.recording(**told))), recorder)
        for name, (rig, _) in rigs.items():
            worker = rig.worker("w", "--fixed-ms", "1", "--row-us", "13", "--burn")
            worker.log.unlink(missing_ok=True)
            share = wanted[name][2] if name in wanted else None
            rig.serve(worker, prediction_log=messages.Sampling(sample=share) if share is not None else None)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in rigs}
        order = list(rigs)
        for _ in range(options.rounds):
            random.shuffle(order)  # what else the machine does hits all alike
            for name in order:
                found[name].append(_measure(rigs[name][0], script, options.connections, options.seconds))
        print("| variant | requests/s, ratio to off | gateway CPU | dropped |\n|---|---|---|---|")
        for name, (rig, recorder) in rigs.items():
            ratios = [a[0] / b[0] for a, b in zip(found[name], found["off"], strict=True)]
            cpu_us = statistics.median(one[1] for one in found[name])
            rate = statistics.median(one[0] for one in found[name])
            counts = recorder.counts() if recorder is not None else {}
            dropped = sum(v for k, v in counts.items() if k.endswith("dropped")) + rig.stats()["headrace_records_total"]
            written = sum(v for k, v in counts.items() if k.endswith("written"))
            share = f"{dropped / (dropped + written):.0%}" if dropped + written else "-"
            print(f"| {name} | {statistics.median(ratios):.2f} ({rate:,.0f}/s) | {cpu_us:.1f} us | {share} |")
    return 0


def _measure(rig: GatewayRig, script: Path, connections: int, seconds: int) -> tuple[float, float]:
    """(requests/s, microseconds of the gateway's CPU a request)."""
    host, port = rig.address()
    command = ["wrk", "-t1", f"-c{connections}", "-s", str(script), f"http://{host}:{port}/invocations"]
    subprocess.run([*command, "-d1"], capture_output=True, check=True)
    before, began = cpu_s(rig.process.pid), rig.stats()["headrace_requests_total"]
    out = subprocess.run([*command, f"-d{seconds}"], capture_output=True, check=True, text=True).stdout
    requests = rig.stats()["headrace_requests_total"] - began
    rate = re.search(r"Requests/sec:\s+(\S+)", out)
    return float(rate[1]) if rate else 0.0, (cpu_s(rig.process.pid) - before) / requests * 1e6


if __name__ == "__main__":
    sys.exit(main())
