"""The checks of a new version before it gets any traffic."""

from __future__ import annotations

import json
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.config.tree import Checks
from headrace.core.errors import ModelLoadError, UsageError
from headrace.core.examples import made_up_example
from headrace.core.protocol.messages import Failure
from headrace.core.rollout.signatures import incompatibilities
from headrace.supervisor.processes import worker_client as probe
from headrace.supervisor.rollout.dependencies import Processes

_LATENCY_PROBES = 15
_LATENCY_FLOOR_S = 0.005
_MOST_TOLD = 300


class Refused(ModelLoadError):
    """A check has refused the version; it is not tried again until the registry changes."""


class Wrong(Refused):
    """It was refused for what it answers, and not beside another version: nobody goes back to it, either."""


@dataclass(frozen=True)
class Former:
    """The version for comparison: the one that serves or, if `serves` is False, that served last.

    `signature` is as MLflow writes it, `example_s` the median time of its example in seconds; None: it has none.
    """

    signature: dict[str, Any] | None
    example_s: float | None = None
    serves: bool = True


@dataclass(frozen=True)
class MadeUp:
    """How a version without an example of its own answered one made up after its signature; `reason`: why not well.

    `failure`: the exception that the model has raised.
    """

    reason: str = ""
    failure: Failure | None = None

    @property
    def failed(self) -> bool:
        """Whether the answer was an error, or there was none."""
        return bool(self.reason)


class Checker:
    """Holds one model's checks: `check` passes a version, or raises Refused with the reason."""

    def __init__(self, config: Checks, timeout_s: float) -> None:
        self._config = config
        self._timeout_s = timeout_s
        self._golden = _read_golden(Path(config.file)) if config.file else []

    async def check(
        self, workers: Processes, model_path: str, former: Former | None, *, strictly: bool
    ) -> float | None:
        """Check a version whose first worker is up, beside `former` where there is one; returns `Former.example_s`.

        `strictly` is False where nothing could serve instead: then a failing example only warns (its caller logs it).
        Raises Refused, or ModelLoadError for what may pass: the worker does not answer, or `former` does not serve.
        """
        warm_up = workers.warm_up
        if warm_up.get("ok") is False and strictly and self._config.example == "refuse":
            raise Wrong(f"its own example fails: {warm_up.get('reason') or warm_up.get('status')}")
        if former is not None and self._config.signature == "refuse":
            problems = incompatibilities(former.signature, workers.facts.get("signature"))
            if problems:
                why = "; ".join(problems[:3])
                # What served last may not come up again: then this one is compared with nothing at its next turn.
                kind = Refused if former.serves else ModelLoadError
                raise kind(f"its signature is incompatible: {why} ('checks: {{signature: warn}}' lets it serve)")
        if not workers.ready:
            raise ModelLoadError("the worker ended before it was checked")
        try:
            await self._check_golden(workers.ready[0].socket)
            latency_s = await self._measure(workers.ready[0].socket, model_path)
        except probe.ProbeFailed as error:
            raise ModelLoadError(f"a check was not answered: {error}") from None
        limit, was_s = self._config.max_latency_ratio, former.example_s if former is not None else None
        if limit and latency_s and was_s and latency_s > max(was_s * limit, _LATENCY_FLOOR_S):
            raise Refused(
                f"its example takes {latency_s * 1000:.1f} ms, {latency_s / was_s:.1f} times the former version's"
            )
        return latency_s

    async def try_made_up(self, workers: Processes) -> MadeUp | None:
        """Try a request made up after the signature; None where there is something better, or none can be made.

        It may be wrong in a way that only the model's author knows: whoever fails it is doubtful, and not refused.
        """
        signature = workers.facts.get("signature")
        if workers.warm_up.get("ok") is not None or self._golden or not signature or not workers.ready:
            return None
        example = made_up_example(signature)
        if example is None:
            return None
        worker = workers.ready[0]
        try:
            (answer,) = await probe.ask(worker.socket, [json.dumps(example).encode()], self._timeout_s)
        except probe.ProbeFailed as error:
            workers.kill(worker.id, "it did not answer a made-up example", "hung")
            return MadeUp(str(error))
        if answer.status == 200:
            return MadeUp()
        failure = answer.raised.failure(answer.status) if answer.raised is not None else None
        return MadeUp(f"answered with {answer.status}: {_told(answer)}", failure)

    async def _check_golden(self, socket: str) -> None:
        if not self._golden:
            return
        bodies = [json.dumps(g["request"]).encode() for g in self._golden]
        answers = await probe.ask(socket, bodies, self._timeout_s)
        for number, (golden, answer) in enumerate(zip(self._golden, answers, strict=True), 1):
            where = f"golden request {number} of {self._config.file}"
            if answer.status != golden.get("status", 200):
                wanted = golden.get("status", 200)
                raise Wrong(f"{where} was answered with {answer.status}, expected {wanted}: {_told(answer)}")
            if "expected" not in golden:
                continue
            try:
                got = json.loads(answer.body)
            except ValueError:
                raise Wrong(f"{where} was answered with what is not JSON") from None
            if not _equal(golden["expected"], got, golden.get("tolerance", self._config.tolerance)):
                raise Wrong(f"{where} was answered wrongly: {_short(got)}, expected {_short(golden['expected'])}")

    async def _measure(self, socket: str, model_path: str) -> float | None:
        """The median time of the model's example, in seconds; None where it has none."""
        body = example_of(model_path) if self._config.max_latency_ratio else None
        if body is None:
            return None
        took_s = []
        for _ in range(_LATENCY_PROBES):
            started_s = time.perf_counter()
            await probe.ask(socket, [body], self._timeout_s)
            took_s.append(time.perf_counter() - started_s)
        return statistics.median(took_s)


def example_of(model_path: str) -> bytes | None:
    """The model's own input example as the body of a request; None where it was logged without one."""
    try:
        return Path(model_path, "serving_input_example.json").read_bytes()
    except OSError:
        return None


def _read_golden(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the golden requests cannot be read: {error}") from None
    golden = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path}:{number}: not JSON: {error}") from None
        if not isinstance(entry, dict) or "request" not in entry:
            raise UsageError(f'{path}:{number}: expected {{"request": ..., "expected": ...}}')
        golden.append(entry)
    return golden


def check_compiled(workers: Processes) -> None:
    """Raise Refused for a version that must have a faster form, and has none that is proved."""
    told = workers.facts.get("compiled") or {}
    if told.get("state") not in {"shadow", "compiled"}:
        why = told.get("reason") or "its worker does not say why"
        raise Refused(f"it has no faster form: {why} ('compile: auto' serves it as it is)")


def _equal(expected: Any, got: Any, tolerance: float) -> bool:
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, int | float) and isinstance(got, int | float):
        both_nan = math.isnan(expected) and math.isnan(got)
        return both_nan or math.isclose(expected, got, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(expected, dict) and isinstance(got, dict):
        return expected.keys() == got.keys() and all(_equal(v, got[k], tolerance) for k, v in expected.items())
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(_equal(e, g, tolerance) for e, g in zip(expected, got, strict=True))
    return bool(expected == got)


def _told(answer: probe.ProbeAnswer) -> str:
    """What the model raised; where that is not known, what the answer says."""
    try:
        text = str(answer.raised) if answer.raised is not None else str(json.loads(answer.body)["message"])
    except (ValueError, KeyError, TypeError):
        text = answer.body.decode("utf-8", "replace")
    return " ".join(text.split())[:_MOST_TOLD]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "..."
