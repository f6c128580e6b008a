"""Handles what gateways report of workers and models."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from headrace.core.protocol.messages import (
    FAILS_BESIDE,
    Hazard,
    ModelFailed,
    News,
    PoolLoad,
    WorkerBroke,
    WorkerHung,
)
from headrace.supervisor.load_watch import LoadWatch
from headrace.supervisor.rollout.version import Version
from headrace.supervisor.served_model import ServedModel
from headrace.telemetry.logs import Log


class GatewayNews:
    """`models` gives those that have processes, `loads` hears what there is to do for them.

    `tells_texts` says whether the log may have texts of exceptions.
    """

    def __init__(
        self, models: Callable[[], Iterable[ServedModel]], loads: LoadWatch, log: Log, *, tells_texts: bool
    ) -> None:
        self._models = models
        self._loads = loads
        self._log = log
        self._tells_texts = tells_texts

    def heed(self, news: News) -> None:
        """Act on what a gateway reports of a worker or a model."""
        if isinstance(news, Hazard):
            self._hazard(news)
        elif isinstance(news, PoolLoad):
            self._loads.heed(news)
        elif isinstance(news, ModelFailed):
            self._model_failed(news)
        else:
            for workers in [v.workers for m in self._models() for v in m.versions if v.workers]:
                if isinstance(news, WorkerHung):
                    workers.kill(news.worker, f"no answer for {news.running_s:.1f} s", "hung")
                elif isinstance(news, WorkerBroke):
                    workers.kill(news.worker, news.reason, "protocol")
                else:
                    workers.cut_off(news.worker)

    def _find(self, pool: str) -> tuple[ServedModel, Version] | None:
        return next(((m, v) for m in self._models() for v in m.versions if v.key == pool), None)

    def _hazard(self, message: Hazard) -> None:
        """Count the protocol's hazards for each version, and log each kind once."""
        found = self._find(message.pool)
        if found is None:
            return
        model, version = found
        for told, count in message.counts.items():
            name, is_new = version.count_hazard(told, count)
            if is_new and name == FAILS_BESIDE:
                self._log.warning(
                    "one call at a time from now on: the model fails beside other calls, and not alone",
                    model=version.model,
                    version=version.label,
                    next="make it safe for threads, or set concurrency: 1 (or a number, to have so many all the same)",
                )
            elif is_new:
                self._log.warning("hazard", model=version.model, version=version.label, hazard=name)
            model.hazards.add(version.label, name, count)

    def _model_failed(self, message: ModelFailed) -> None:
        """Keep and log a model's own failures, with the requests that they happened to; each traceback once."""
        model, version = self._find(message.pool) or (None, None)
        if model is not None:
            model.answers.failed(message)
        texts = self._tells_texts
        for failure in message.failures:
            is_new = version.failures.add(failure, time.time()) if version is not None else True
            text = f"{failure.type}: {failure.text}" if texts and failure.text else failure.type
            told = {"exception": failure.traceback} if is_new and texts and failure.traceback else {}
            self._log.error(
                "model error",
                model=version.model if version else None,
                version=version.label if version else message.pool,
                request_id=failure.request_ids[-1] if failure.request_ids else None,
                status=failure.status,
                error_code=failure.error_code or None,
                error=text or None,
                where=failure.where or None,
                others=failure.count - 1,
                **told,
            )
