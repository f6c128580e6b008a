"""The gateway by itself: stub workers with a set service time behind it, wrk before it.

    python benchmarks/gateway/run.py [--connections 1,64,256] [--workers 2] [--fixed-ms 1] [--row-us 13]

Prints requests/s, latencies, and the gateway's CPU per request. `--sleep` lets stub workers sleep instead of burn CPU.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from headrace.core.protocol import messages  # noqa: E402 - the tests are no installed package
from tests.gateway_rig.rig import GatewayRig  # noqa: E402 - run as a script

BODY = '{"instances": ["Technology news about a new chip"]}'
SCRIPT = 'wrk.method="POST"\nwrk.body=[[%s]]\nwrk.headers["Content-Type"]="application/json"\n'
UNIQUE = 'n=0 request=function() n=n+1 wrk.headers["X-Request-Id"]="r"..n return wrk.format() end\n'
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024  # type: ignore[index]


def main() -> int:
    """Start, load, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", default="1,64,256")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fixed-ms", type=float, default=1.0)
    parser.add_argument("--row-us", type=float, default=13.0)
    parser.add_argument("--sleep", action="store_true")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--path", default="/invocations")
    parser.add_argument("--max-rows", type=int, default=256)
    parser.add_argument("--cache", action="store_true")
    parser.add_argument("--unique", action="store_true", help="a header that is new in each request")
    parser.add_argument("--hold", action="store_true", help="keep it running for a profiler")
    options = parser.parse_args()
    with GatewayRig() as rig:
        how = ["--fixed-ms", str(options.fixed_ms), "--row-us", str(options.row_us)]
        if not options.sleep:
            how.append("--burn")
        workers = [rig.worker(f"w{i}", *how) for i in range(options.workers)]
        for worker in workers:
            worker.log.unlink(missing_ok=True)
        rig.serve(
            *workers,
            batch=messages.BatchOptions(max_rows=options.max_rows),
            cache=messages.CacheOptions() if options.cache else None,
        )
        script = rig.directory / "post.lua"
        script.write_text(
            (SCRIPT % BODY if options.path == "/invocations" else "") + (UNIQUE if options.unique else "")
        )
        host, port = rig.address()
        url = f"http://{host}:{port}{options.path}"
        print(f"gateway pid {rig.process.pid}, rss {rss_mb(rig.process.pid):.0f} MB, {url}")
        for connections in map(int, options.connections.split(",")):
            command = ["wrk", "-t1", f"-c{connections}", "--latency", "-s", str(script), url]
            subprocess.run([*command, "-d1"], capture_output=True, check=True)
            before, started = cpu_s(rig.process.pid), rig.stats()
            begun = time.monotonic()
            out = subprocess.run([*command, f"-d{options.seconds}"], capture_output=True, check=True, text=True).stdout
            elapsed = time.monotonic() - begun
            after, ended = cpu_s(rig.process.pid), rig.stats()
            found = dict(re.findall(r"(50%|99%|Requests/sec:|Non-2xx[^:]*:|Socket errors:)\s+(\S+)", out))
            requests = ended["headrace_requests_total"] - started["headrace_requests_total"]
            batches = ended["headrace_batches_total"] - started["headrace_batches_total"]
            cpu = after - before
            print(
                f"c={connections:<4} {found['Requests/sec:']:>9}/s  p50 {found['50%']:>8} p99 {found['99%']:>8} "
                f"gateway {cpu / requests * 1e6:5.1f} us/request ({cpu / elapsed:4.0%} of a core)",
                f"rss {rss_mb(rig.process.pid):.0f} MB",
                f"{requests / batches:.1f} a batch" if batches else "no batches",
                *(f"{k} {v}" for k, v in found.items() if k.startswith(("Non", "Sock"))),
            )
        if options.hold:
            input("enter to end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
