"""From rows to what people read: a table with ratios, a CSV, a picture, and the versions it was all measured with."""

from __future__ import annotations

import csv
import dataclasses
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from beside.cases import Case
from beside.contenders import Contender
from beside.measure import Row

Median = dict[tuple[str, str], dict[str, float]]
_FIELDS = ("requests_per_s", "p50_ms", "p99_ms", "cpu_s_per_1000", "pss_mb", "start_s", "failed")


def write(
    rows: list[Row],
    floors: dict[str, list[float]],
    cases: list[Case],
    chosen: list[Contender],
    absent: dict[str, str],
    versions: dict[str, dict[str, str]],
    *,
    out: Path,
    about: tuple[int, float],
) -> None:
    """Write `results.csv`, `.md`, `.png` and `floor.csv` to `out`; `about`: rounds, and seconds of each run."""
    out.mkdir(parents=True, exist_ok=True)
    floor = {name: round(statistics.median(values), 3) for name, values in floors.items()}
    medians = _medians(rows)
    text = "\n".join(
        [
            *_about(versions, *about),
            *_results(medians, cases, chosen),
            *_floor(medians, floor),
            *_absent(absent),
        ]
    )
    (out / "results.md").write_text(text + "\n")
    with (out / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f.name for f in dataclasses.fields(Row)])
        writer.writerows(dataclasses.astuple(row) for row in rows)
    with (out / "floor.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("what", "median"), *floor.items()])
    _picture(medians, cases, chosen, out / "results.png")


def show(out: Path) -> None:
    """Print what was written."""
    print((out / "results.md").read_text())


def _medians(rows: Iterable[Row]) -> Median:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.contender, row.case), []).append(row)
    return {
        key: {field: statistics.median(getattr(row, field) for row in group) for field in _FIELDS}
        for key, group in groups.items()
    }


def _about(versions: dict[str, dict[str, str]], rounds: int, seconds: float) -> list[str]:
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    own = {p: version(p) for p in ("headrace", "mlflow", "scikit-learn", "pandas", "numpy", "uvloop", "httptools")}
    others = {name: number for found in versions.values() for name, number in found.items() if name not in own}
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split()[1:2]  # noqa: S607
    return [
        (
            f"Machine: {os.cpu_count()} cores ({model[1].strip() if model else 'unknown'}),"
            f" {int(memory[1]) // 1048576 if memory else 0} GB, Linux {platform.release()};"
            f" load over the last 15 minutes {os.getloadavg()[2]:.1f}. wrk ({' '.join(wrk)}) runs on the same cores."
        ),
        "",
        f"CPython {platform.python_version()}; " + ", ".join(f"{n} {v}" for n, v in {**own, **others}.items()) + ".",
        "",
        (
            f"Medians of {rounds} round(s) of {seconds:g} s."
            f" Command: `{_command()}`. Load over the last minute at the end: {os.getloadavg()[0]:.1f}."
        ),
        "",
    ]


def _command() -> str:
    """The command as anybody could give it: without the places of this machine."""
    kept = [
        argument
        for before, argument in pairwise(["", *sys.argv[1:]])
        if not {before, argument} & {"--out", "--cache", "--state-dir"}
    ]
    return " ".join(["python benchmarks/beside", *kept])


def _results(medians: Median, cases: list[Case], chosen: list[Contender]) -> list[str]:
    lines: list[str] = []
    for case in cases:
        found = [(c, medians[c.name, case.name]) for c in chosen if (c.name, case.name) in medians]
        if not found:
            continue
        ours = medians.get(("headrace", case.name))
        unit = "texts/s" if case.rows > 1 else "requests/s"
        lines += [f"### {case.title}", ""]
        lines += [f"| server | {unit} | headrace is | p50 ms | p99 ms | CPU s / 1,000 requests | memory MB | up in s |"]
        lines += ["|---|---:|---:|---:|---:|---:|---:|---:|"]
        for contender, m in found:
            ratio = f"{ours['requests_per_s'] / m['requests_per_s']:.1f} x" if ours and m["requests_per_s"] else ""
            failed = f" ({m['failed']:.0f} failed)" if m["failed"] else ""
            lines.append(
                f"| {contender.title} | {m['requests_per_s'] * case.rows:,.0f}{failed} | "
                f"{'' if contender.name == 'headrace' else ratio} | {m['p50_ms']:.2f} | {m['p99_ms']:.1f} | "
                f"{m['cpu_s_per_1000']:.3f} | {m['pss_mb']:.0f} | {m['start_s']:.1f} |"
            )
        lines.append("")
    return lines


def _floor(medians: Median, f: dict[str, float]) -> list[str]:
    def ours(case: str, field: str) -> float | None:
        return medians.get(("headrace", case), {}).get(field)

    def share(name: str, reached: float | None, of: float, form: Callable[[float], str]) -> list[str]:
        if reached is None:
            return []
        return [f"| {name} | {form(of)} | {form(reached)} | {reached / of:.0%} |"]

    texts = ours("texts-256", "requests_per_s")
    in_process = 256_000 / f["alone_predict_256_ms"]
    rate: Callable[[float], str] = "{:,.0f}/s".format
    lines = [
        "### The floor, and what headrace reaches",
        "",
        "| what | floor | headrace | share |",
        "|---|---:|---:|---:|",
    ]
    for connections in (1, 64, 256):
        name = f"one text, {connections} connections; the floor is a constant answer on the same port"
        lines += share(name, ours(f"single-{connections}", "requests_per_s"), f[f"constant_{connections}_per_s"], rate)
    lines += share("cache hits, 64 connections", ours("cache-64", "requests_per_s"), f["constant_64_per_s"], rate)
    name = "texts/s, 256 a request; the floor is `predict` in one process"
    lines += share(name, texts * 256 if texts else None, in_process, rate)
    p50_ms = ours("single-1", "p50_ms")
    if p50_ms is not None:
        more = p50_ms - f["alone_predict_1_ms"]
        lines.append(
            f"| p50 at one connection; the floor is `predict` of one text in process | {f['alone_predict_1_ms']:.2f} ms"
            f" | {p50_ms:.2f} ms | + {more:.2f} ms |"
        )
    start = f["alone_import_and_load_s"]
    lines += [
        (
            f"| start to first answer, warm caches; the floor is import + load | {start:.2f} s | {f['start_s']:.2f} s |"
            f" + {f['start_s'] - start:.2f} s |"
        ),
        "",
        "| process | memory (PSS) MB | resident MB | CPU us a request (64, 256 connections) |",
        "|---|---:|---:|---:|",
        (
            f"| gateway | {f['pss_gateway_mb']:.0f} | {f['rss_gateway_loaded_mb']:.0f} under load |"
            f" {f['gateway_64_cpu_us']:.0f}, {f['gateway_256_cpu_us']:.0f} |"
        ),
        f"| supervisor | {f['pss_supervisor_mb']:.0f} | {f['rss_supervisor_mb']:.0f} | |",
        f"| registry agent | {f['pss_agent_mb']:.0f} | {f['rss_agent_mb']:.0f} | |",
        (
            f"| host and two forked replicas together | {f['pss_host_mb'] + f['pss_replica_mb']:.0f} |"
            f" {f['rss_replica_mb']:.0f} each | |"
        ),
        f"| for comparison: a process that loads the model | {f['alone_pss_mb']:.0f} | {f['alone_rss_mb']:.0f} | |",
        "",
    ]
    return lines


def _absent(absent: dict[str, str]) -> list[str]:
    return ["### Not measured", "", *(f"- {name}: {why}" for name, why in absent.items()), ""] if absent else []


def _picture(medians: Median, cases: list[Case], chosen: list[Contender], path: Path) -> None:
    """Bars of requests/s on a logarithmic scale, a panel a case."""
    import matplotlib as mpl  # noqa: PLC0415 - takes a second, and only the picture needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    panels = [c for c in cases if len([1 for o in chosen if (o.name, c.name) in medians]) > 1]
    if not panels:
        return
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(5 * columns, 2.6 * lines), squeeze=False)
    for spare in list(grid.flat)[len(panels) :]:
        spare.axis("off")
    for axes, case in zip(grid.flat, panels, strict=False):
        found = [c for c in chosen if (c.name, case.name) in medians][::-1]
        values = [max(0.1, medians[c.name, case.name]["requests_per_s"] * case.rows) for c in found]
        colours = ["#1f6feb" if c.name == "headrace" else "#b8c0cc" for c in found]
        bars = axes.barh([c.name for c in found], values, color=colours)
        axes.bar_label(bars, labels=[f"{v:,.0f}" for v in values], padding=2, fontsize=8)
        axes.set_xscale("log")
        axes.set_xlim(right=max(values) * 6)
        axes.set_title(case.title, fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("texts/s or requests/s, logarithmic", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
