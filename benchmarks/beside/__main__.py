"""`make bench`: measures headrace beside its peers and writes docs/benchmarks/.

    python benchmarks/beside [--quick] [--rounds N] [--seconds S] [--only NAME,...] [--cases NAME,...]
                             [--state-dir DIR] [--cache DIR] [--out DIR]

Each round starts every server once for each kind of model and drives its cases, so that what else runs on the machine
hurts all alike; the table holds medians over the rounds.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from beside import environments, floor, models, tables  # noqa: E402 - run as a script
from beside.cases import CASES, MODELS_BEHIND, Case, payloads  # noqa: E402 - run as a script
from beside.contenders import CONTENDERS, WHY_NOT, Contender  # noqa: E402 - run as a script
from beside.measure import NotServing, Row, measure  # noqa: E402 - run as a script

ROOT = Path(__file__).resolve().parents[2]
_CHECKED = 5
_QUICK_CASES = ("single-1", "single-64", "single-256", "texts-256")


def main() -> int:
    """Run the command; returns its exit code."""
    options = _parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of every `finally`: no server stays behind
    chosen = [c for c in CONTENDERS if not options.only or c.name in options.only]
    cases = [c for c in CASES if not options.cases or c.name in options.cases]
    state = options.state_dir.absolute()
    paths = models.prepare(state, {MODELS_BEHIND[c.model] for c in cases} | {"topic"})
    answers = {c: models.expected(paths[MODELS_BEHIND[c.model]], payloads(c)[:_CHECKED]) for c in cases}
    absent: dict[str, str] = {}
    pythons: dict[str, Path] = {}
    for contender in chosen:
        try:
            pythons[contender.name] = _python(contender, options.cache.absolute())
        except environments.NotInstalled as error:
            absent[contender.name] = f"cannot be installed: {error}"
            print(f"{contender.name}: {absent[contender.name]}", flush=True)
    versions = {c.name: environments.versions(pythons[c.name], c.packages) for c in chosen if c.name in pythons}
    rows: list[Row] = []
    floors: dict[str, list[float]] = {}
    for number in range(1, options.rounds + 1):
        floor.measure(paths["topic"], floors, seconds=options.seconds)
        for contender in chosen:
            if contender.name not in absent:
                rows += _round(contender, pythons, paths, cases, answers, options, number, absent)
        # After each round, so that what was measured is there whatever ends the run.
        tables.write(rows, floors, cases, chosen, absent, versions, out=options.out, about=(number, options.seconds))
    tables.show(options.out)
    return 0 if rows else 1


def _round(
    contender: Contender,
    pythons: dict[str, Path],
    paths: dict[str, Path],
    cases: list[Case],
    answers: dict[Case, list[Any]],
    options: argparse.Namespace,
    number: int,
    absent: dict[str, str],
) -> list[Row]:
    """Every case of one contender, once."""
    rows: list[Row] = []
    for kind in dict.fromkeys(c.model for c in cases):
        if kind not in contender.serves:
            absent[f"{contender.name} {kind}"] = WHY_NOT[kind]
            continue
        mine = [(c, answers[c]) for c in cases if c.model == kind]
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            work = Path(directory)
            try:
                found = measure(
                    contender, pythons[contender.name], kind, paths[MODELS_BEHIND[kind]], mine,
                    work=work, seconds=options.seconds, number=number,
                )  # fmt: skip
            except NotServing as error:
                absent[f"{contender.name} {kind}"] = str(error)
                print(f"{contender.name} {kind}: {error}", flush=True)
                continue
        for row in found:
            print(
                f"{number}  {row.contender:<9} {row.case:<11} {row.requests_per_s:>9.1f}/s  p50 {row.p50_ms:8.2f} ms"
                f"  p99 {row.p99_ms:8.2f} ms  {row.cpu_s_per_1000:7.3f} CPU s/1000  {row.pss_mb:6.0f} MB"
                f"  up in {row.start_s:.1f} s" + (f"  FAILED {row.failed}" if row.failed else ""),
                flush=True,
            )
        rows += found
    return rows


def _python(contender: Contender, cache: Path) -> Path:
    return Path(sys.executable) if contender.environment is None else environments.ensure(contender.environment, cache)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python benchmarks/beside", description="headrace beside its peers")
    parser.add_argument("--quick", action="store_true", help="one round of 3 s, the main cases")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each load run")
    parser.add_argument("--only", type=_names, default=(), help=", ".join(c.name for c in CONTENDERS))
    parser.add_argument("--cases", type=_names, default=(), help=", ".join(c.name for c in CASES))
    parser.add_argument("--state-dir", type=Path, default=ROOT / ".demo", help="where the demo's models are, or go")
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench", help="where the peers' environments are kept")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks", help="where CSV and picture go")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, min(options.seconds, 3.0)
        options.cases = options.cases or _QUICK_CASES
    return options


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


if __name__ == "__main__":
    sys.exit(main())
