"""What the configuration says, as it goes over the wire: to gateways, to workers and to the recorder.

Nearly every setting that one of them acts on goes from `config.tree` to its message here. A few are put into theirs by
what sends it: `app`, `security.access`, `security.certificates`, `processes.recorder`, `rollout.executor` and
`processes.worker_environ`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace.config import environment
from headrace.config.traffic import PIN_HEADER, WILDCARD, shadow_of
from headrace.config.tree import Config, Model, Queue
from headrace.core.contract import tools
from headrace.core.identity import parse_model_uri
from headrace.core.protocol.messages import (
    BatchOptions,
    CacheOptions,
    Limits,
    QueueOptions,
    Recording,
    Route,
    Sampling,
    Shadow,
    Share,
    Split,
)
from headrace.core.protocol.records import MlflowTraces, PredictionLog
from headrace.core.security.pages import Pages
from headrace.core.security.quotas import Quota
from headrace.supervisor.processes.cores import request_memory_bytes


def limits(config: Config) -> Limits:
    """What bounds every client of a gateway."""
    bounds = {name: getattr(config.gateway, name) for name in Limits.__struct_fields__ if hasattr(config.gateway, name)}
    if config.gateway.max_memory_bytes is None:
        bounds["max_memory_bytes"] = request_memory_bytes(config.gateway.processes)
    return Limits(**bounds, watched_headers=watched_headers(config))


def registry_agent(config: Config, home: Path, registry_key: str) -> dict[str, Any]:
    """What the registry agent is started with; its `warm`: import MLflow at once, for some model needs it."""
    models = [*config.models.values(), *([config.wildcard] if config.wildcard is not None else [])]
    return {
        "home": str(home),
        "registry_key": registry_key,
        "tracking_uri": config.registry.tracking_uri,
        "registry_uri": config.registry.registry_uri,
        "timeout_s": config.registry.timeout_s,
        "warm": any(parse_model_uri(model.uri).directory is None for model in models),
    }


def pages(config: Config) -> Pages:
    """Which web pages may use the data ports."""
    hosts = (*config.gateway.hosts, config.gateway.host, socket.gethostname())
    return Pages(origins=config.gateway.origins, hosts=tuple(host.lower() for host in hosts))


def quotas(config: Config) -> tuple[Quota, ...]:
    """How much clients may ask for; of each the first that fits."""
    return tuple(Quota(who=who, **_fields(section)) for who, section in config.quotas.items())


def watched_headers(config: Config) -> tuple[str, ...]:
    """The request headers that some setting looks at, in lower case."""
    models = [*config.models.values(), *([config.wildcard] if config.wildcard is not None else [])]
    names = {model.sticky_header.lower() for model in models if model.sticky_header is not None}
    if config.telemetry.otlp is not None or config.telemetry.mlflow_traces is not None:
        names |= {"traceparent", "tracestate"}
    if config.auth is not None and config.auth.proxy is not None:
        names.add(config.auth.proxy.header.lower())
    if config.mcp is not None:
        names |= set(tools.HEADERS)
    names |= {model.queue.client_header.lower() for model in models if model.queue.client_header is not None}
    return tuple(sorted(names | {PIN_HEADER for model in models if model.pin_header}))


def route(
    name: str,
    config: Model,
    errors_mode: str,
    *,
    pool: str | None,
    reason: str,
    unwell: str,
    failing: str,
    split: Split | None,
) -> Route:
    """Where a model's requests go, and how: `pool` is the version that serves; for the rest see `messages.Route`."""
    kept = config.prediction_log
    return Route(
        model=name,
        pool=pool,
        reason=reason,
        timeout_s=config.timeout_s,
        concurrency=None if config.concurrency == "auto" else config.concurrency,
        batch=BatchOptions(
            max_rows=config.batch.max_rows,
            max_bytes=config.batch.max_bytes,
            max_delay_ms=config.batch.max_delay_ms,
        ),
        queue=queue_options(config.queue),
        cache=CacheOptions(**_fields(config.cache)) if config.cache else None,
        errors="strict" if errors_mode == "strict" else "mlflow",
        split=split,
        unwell=unwell,
        failing=failing,
        prediction_log=Sampling(sample=kept.sample, max_body_bytes=kept.max_body_bytes) if kept else None,
    )


def split(
    config: Model,
    main_alias: str,
    pools: Mapping[str, str],
    pins: Mapping[str, str],
    step: tuple[str, int] | None = None,
) -> Split | None:
    """How a model's traffic is divided; None where all of it goes to the main version.

    `pools` are the pools behind its aliases, the main one's among them; an alias that is not there serves nothing, and
    the main version has its share. `pins` are the pools that a request may name. `step`: a version that is to replace
    the main one, and the percentage of the main one's share that it has.
    """
    weights = config.traffic or ({main_alias: 1} if step is not None else {})
    # The main alias comes last: when another's weight grows, requests move only from it to that one.
    order = [alias for alias in weights if alias != main_alias] + [main_alias] * bool(weights)
    shares = tuple(Share(pools.get(alias, pools[main_alias]), weights[alias]) for alias in order)
    if step is not None:
        (pool, percent), last = step, shares[-1]
        shares = (
            *(Share(share.pool, share.weight * 100) for share in shares[:-1]),
            Share(pool, last.weight * percent),
            Share(last.pool, last.weight * (100 - percent)),
        )
    shadow = shadow_of(config) if config.shadow is not None else None
    made = Split(
        shares=shares if len({share.pool for share in shares}) > 1 else (),
        sticky_header=config.sticky_header.lower() if config.sticky_header else None,
        pin_header=PIN_HEADER if config.pin_header else None,
        pins=dict(pins) if config.pin_header else {},
        shadow=Shadow(pools[shadow.alias], shadow.share) if shadow and shadow.alias in pools else None,
    )
    return made if made.shares or made.pins or made.shadow else None


def queue_options(section: Queue) -> QueueOptions:
    """The queue's section as a gateway knows it: headers' names are compared in lower case."""
    header = section.client_header
    return QueueOptions(**{**_fields(section), "client_header": header.lower() if header is not None else None})


def worker_options(config: Config, model: Model) -> dict[str, Any]:
    """What a worker is told of how to answer."""
    options: dict[str, Any] = {
        "errors": (model.errors or config.errors).mode,
        "max_rows": model.batch.max_rows,
        "tolerance": model.batch.tolerance,
        "max_inflated_bytes": config.gateway.max_body_bytes,
        "compile": model.compile,
        "compile_s": model.compile_s,
    }
    if config.telemetry.mlflow_traces is not None:
        options["collect_spans"] = True
    if model.config is not None:
        options["model_config"] = json.dumps(model.config)
    return options


def share_imports(config: Config, model: Model) -> bool:
    """Whether a model's processes may be forked from one that has imported what models import."""
    return config.environments.share_imports if model.share_imports is None else model.share_imports


def recording(config: Config, directory: Path, environ: Mapping[str, str]) -> Recording | None:
    """What gateways are to tell the recorder; None: nothing is recorded, and there is no recorder."""
    log, otlp = config.log, config.telemetry.otlp
    trace_sample = environment.trace_sample(otlp.sample, environ) if otlp is not None else None
    mlflow = config.telemetry.mlflow_traces
    nothing = log.access_mode == "off" and log.slow_s is None and trace_sample is None and mlflow is None
    if nothing and not prediction_logs(config):
        return None
    return Recording(
        socket=str(directory / "recorder.sock"),
        access=log.access_mode,
        access_sample=log.access_sample,
        slow_s=log.slow_s,
        trace_sample=trace_sample,
        mlflow_sample=mlflow.sample if mlflow is not None else None,
    )


def mlflow_traces(config: Config) -> MlflowTraces | None:
    """Where traces go in MLflow; None: nowhere."""
    wanted = config.telemetry.mlflow_traces
    if wanted is None:
        return None
    return MlflowTraces(experiment=wanted.experiment, tracking_uri=config.registry.tracking_uri)


def prediction_logs(config: Config) -> dict[str, PredictionLog]:
    """Each model's, as the recorder knows them; "*" is the wildcard's."""
    models = {**config.models, **({WILDCARD: config.wildcard} if config.wildcard is not None else {})}
    return {
        name: PredictionLog(
            directory=str(kept.path.absolute()),
            format=kept.format,
            max_body_bytes=kept.max_body_bytes,
            max_file_bytes=kept.max_file_bytes,
            max_file_age_s=kept.max_file_age_s,
            keep=kept.keep,
            redact=kept.redact,
        )
        for name, model in models.items()
        if (kept := model.prediction_log) is not None
    }


def _fields(section: Any) -> dict[str, Any]:
    return {name: getattr(section, name) for name in section.__struct_fields__}
