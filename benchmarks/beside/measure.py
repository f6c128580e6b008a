"""One server, one kind of model: start it, see that it answers rightly, drive its cases, end it."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beside import load
from beside.cases import Case, payloads
from beside.contenders import Contender, Plan
from beside.idle import IdleConnections
from beside.processes import Running, free_port

_PATIENCE_S = 120.0


class NotServing(Exception):
    """A server did not start, or its answers are wrong."""


@dataclass(frozen=True)
class Row:
    """One measurement, as it stands in the CSV."""

    contender: str
    case: str
    round: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_s_per_1000: float
    pss_mb: float
    start_s: float
    failed: int


def measure(
    contender: Contender,
    python: Path,
    kind: str,
    model: Path,
    cases: list[tuple[Case, list[Any]]],
    *,
    work: Path,
    seconds: float,
    number: int,
) -> list[Row]:
    """Drive all `cases` (with the right answers to the first payloads) of one kind. Raises NotServing."""
    port = free_port()
    plan = contender.plan(python, kind, model, port, work)
    log = work / f"{contender.name}-{kind}.log"
    running = Running(plan.command, log=log, environ=plan.environ, directory=work)
    try:
        start_s = _until_right(running, plan, port, cases[0], log)
        rows = []
        for case, answers in cases:
            _check(plan, port, case, answers)
            rows.append(_drive(contender, plan, port, case, running, start_s, seconds, number))
        return rows
    finally:
        running.stop()


def _drive(
    contender: Contender,
    plan: Plan,
    port: int,
    case: Case,
    running: Running,
    start_s: float,
    seconds: float,
    number: int,
) -> Row:
    bodies = [json.dumps(plan.translate(p)) for p in payloads(case)]
    paths = itertools.cycle(plan.paths)
    requests = [(next(paths), body) for body in bodies]
    with ExitStack() as stack:
        if case.idle:
            stack.enter_context(IdleConnections(port, case.idle))
        load.run(port, requests, connections=case.connections, seconds=min(2.0, seconds))
        before_s = running.cpu_s()
        try:
            done = load.run(port, requests, connections=case.connections, seconds=seconds)
        except load.LoadFailed as error:
            raise NotServing(str(error)) from None
        cpu_s = running.cpu_s() - before_s
        pss_mb = running.pss_mb()
    answered = max(1, done.requests - done.bad)
    return Row(
        contender=contender.name,
        case=case.name,
        round=number,
        requests_per_s=round(done.per_s, 1),
        p50_ms=done.p50_ms,
        p99_ms=done.p99_ms,
        cpu_s_per_1000=round(cpu_s / answered * 1000, 4),
        pss_mb=round(pss_mb, 1),
        start_s=round(start_s, 2),
        failed=done.bad + done.broken,
    )


def ask(port: int, path: str, document: Any) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, json.dumps(document), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _until_right(running: Running, plan: Plan, port: int, first: tuple[Case, list[Any]], log: Path) -> float:
    """Wait until every path answers with status 200; returns the seconds since the start."""
    payload = plan.translate(payloads(first[0])[0])
    paths = list(plan.paths)
    seen = "nothing"
    while time.monotonic() - running.started_s < _PATIENCE_S:
        if running.process.poll() is not None:
            raise NotServing(f"ended with {running.process.returncode}: {_last_line(log)}")
        try:
            status, body = ask(port, paths[0], payload)
            if status == 200:
                paths.pop(0)
                if not paths:
                    return time.monotonic() - running.started_s
                continue
            seen = f"{status} {body[:200]!r}"
        except (OSError, http.client.HTTPException) as error:
            seen = repr(error)
        time.sleep(0.02)
    raise NotServing(f"no answer within {_PATIENCE_S:g} s, last {seen}: {_last_line(log)}")


def _check(plan: Plan, port: int, case: Case, answers: list[Any]) -> None:
    """The first payloads must be answered as the model itself answers them, on every path."""
    for path in plan.paths:
        for payload, wanted in zip(payloads(case), answers, strict=False):
            status, body = ask(port, path, plan.translate(payload))
            try:
                got = plan.read(json.loads(body)) if status == 200 else None
            except (ValueError, KeyError, TypeError, IndexError):
                got = None
            if got != wanted:
                raise NotServing(
                    f"{case.name}: wrong answer {status} {body[:200]!r}, the model says {str(wanted)[:100]}"
                )


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no output"
