"""Writes deploy/grafana/headrace.json: what an operator wants to see, as a Grafana dashboard.

python tools/grafana_dashboard.py [--check]

Grafana's own format says everything ten times; here each panel is what differs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent.parent / "deploy" / "grafana" / "headrace.json"

AT = 'job=~"$job", instance=~"$instance"'
OF = f'{AT}, model=~"$model"'
ONE = "job, instance, model"
RATE = "[$__rate_interval]"
INVOKED = f'{OF}, route="invocations"'

Json = dict[str, Any]


def rate(metric: str, by: str, labels: str = OF) -> str:
    """How much of a counter a second."""
    return f"sum by ({by}) (rate({metric}{{{labels}}}{RATE}))"


def quantile(share: float, histogram: str, by: str = "model") -> str:
    """A quantile of a histogram."""
    return f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', f'le, {by}')})"


def mean(histogram: str, by: str = "model") -> str:
    """The mean of a histogram."""
    return f"{rate(f'{histogram}_sum', by)} / {rate(f'{histogram}_count', by)}"


def panel(kind: str, title: str, help_: str, unit: str, *queries: tuple[str, str], width: int = 8, **more: Any) -> Json:
    """One panel; `queries` are (legend, expression), `unit` is Grafana's name of it."""
    height = {"stat": 4, "row": 1}.get(kind, 8)
    instant = kind in {"stat", "table"}
    targets = [
        {
            "refId": chr(ord("A") + number),
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "expr": expression,
            "legendFormat": legend,
            **({"instant": True, "range": False} if instant else {}),
            **({"format": "table"} if kind == "table" else {}),
        }
        for number, (legend, expression) in enumerate(queries)
    ]
    custom: Json = {}
    options: Json = {}
    if kind == "timeseries":
        custom = {"fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}
        if more.get("stacked"):
            custom |= {"stacking": {"mode": "normal"}, "fillOpacity": 30}
        options = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    elif kind == "stat":
        options = {"colorMode": "value", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}}
    elif kind == "state-timeline":
        custom = {"fillOpacity": 70, "lineWidth": 0}
        options = {"mergeValues": True, "showValue": "never"}
    steps = [{"color": "green", "value": None}, *({"color": c, "value": v} for c, v in more.get("limits", ()))]
    defaults: Json = {"unit": unit, "custom": custom, "thresholds": {"mode": "absolute", "steps": steps}}
    if kind == "stat":
        defaults["noValue"] = "0"
    if unit == "percentunit" and kind == "timeseries":
        defaults["min"] = 0
    made: Json = {
        "type": kind,
        "title": title,
        "description": help_,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"w": width, "h": height},
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }
    if kind == "table":
        hidden = dict.fromkeys(("Time", "Value", "__name__", "job"), True)
        made["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return made


def row(title: str) -> Json:
    """A heading."""
    return {"type": "row", "title": title, "collapsed": False, "gridPos": {"w": 24, "h": 1}, "panels": []}


def series(title: str, help_: str, unit: str, *queries: tuple[str, str], **more: Any) -> Json:
    """Lines over time."""
    return panel("timeseries", title, help_, unit, *queries, **more)


def stat(title: str, help_: str, unit: str, expression: str, **more: Any) -> Json:
    """One number."""
    return panel("stat", title, help_, unit, ("", expression), width=3, **more)


BAD = (("red", 1),)
ERRORS = f'sum(rate(headrace_requests_total{{{INVOKED}, status=~"5.."}}{RATE}))'
ANSWERS = f"sum(rate(headrace_requests_total{{{INVOKED}}}{RATE}))"
BUSY = " + ".join(rate(f"headrace_{part}_seconds_sum", "model") for part in ("parse", "predict", "serialise"))

PANELS: list[Json] = [
    row("At a glance"),
    stat("Requests", "Requests to models that are answered, in a second.", "reqps", ANSWERS),
    stat(
        "Errors",
        "The share of answers that are 5xx.",
        "percentunit",
        f"({ERRORS} or vector(0)) / {ANSWERS}",
        limits=(("orange", 0.01), ("red", 0.05)),
    ),
    stat(
        "p99",
        "All but one in a hundred requests are answered within this time.",
        "s",
        f"histogram_quantile(0.99, sum by (le) (rate(headrace_request_seconds_bucket{{{OF}}}{RATE})))",
        limits=(("orange", 0.5), ("red", 2)),
    ),
    stat("Queued rows", "Rows that wait for a worker now.", "short", f"sum(headrace_queued_rows{{{OF}}})"),
    stat(
        "Models not ready",
        "Models without a worker that can answer.",
        "short",
        f"count(headrace_model_ready{{{OF}}} == 0)",
        limits=BAD,
    ),
    stat(
        "Failed rollouts",
        "Models whose wanted version could not be brought up.",
        "short",
        f"sum(headrace_rollout_problem{{{OF}}})",
        limits=BAD,
    ),
    stat(
        "Registry problems",
        "Models for which the registry cannot be followed.",
        "short",
        f"sum(headrace_registry_problem{{{OF}}})",
        limits=BAD,
    ),
    stat(
        "Environment mismatches",
        "Packages that are not as a model requires.",
        "short",
        f"sum(headrace_environment_mismatches{{{OF}}})",
        limits=BAD,
    ),
    row("Traffic"),
    series(
        "Requests by version",
        "What each version answers. During a rollout the colours change places.",
        "reqps",
        ("{{version}}", rate("headrace_requests_total", "version", INVOKED)),
        stacked=True,
    ),
    series(
        "Answers by status",
        "200 is good, 4xx the caller's mistake, 500 a worker's failure, 503 overload or nothing ready, 504 a deadline.",
        "reqps",
        ("{{model}} {{status}}", rate("headrace_requests_total", "model, status", INVOKED)),
    ),
    series(
        "Latency",
        "From a request's arrival to its answer.",
        "s",
        *(
            (f"{{{{model}}}} p{share * 100:g}", quantile(share, "headrace_request_seconds"))
            for share in (0.5, 0.95, 0.99)
        ),
    ),
    series(
        "Errors of models",
        "Requests on which the model's own code fails, whatever the status.",
        "reqps",
        ("{{version}}", rate("headrace_model_errors_total", "version")),
    ),
    series(
        "Not answered in time, or not at all",
        "Refused because the queue was full; timed out; left by their clients; given to a second worker.",
        "reqps",
        ("{{model}} refused", rate("headrace_shed_total", "model")),
        ("{{model}} timed out", rate("headrace_deadline_exceeded_total", "model")),
        ("{{model}} client left", rate("headrace_dropped_total", "model")),
        ("{{model}} tried again", rate("headrace_retried_total", "model")),
    ),
    series(
        "Latency by version",
        "The median of each version: is the new one slower?",
        "s",
        ("{{version}} p50", quantile(0.5, "headrace_request_seconds", "version")),
    ),
    row("Queue and batches"),
    series(
        "Queue wait",
        "From a request's arrival until it is sent to a worker. It grows when there are too few workers.",
        "s",
        *((f"{{{{model}}}} p{share * 100:g}", quantile(share, "headrace_queue_wait_seconds")) for share in (0.5, 0.99)),
    ),
    series(
        "Queue",
        "Rows that wait, as a share of what may wait, before requests are refused.",
        "percentunit",
        (
            "{{model}}",
            f"sum by ({ONE}) (headrace_queued_rows{{{OF}}}) / on ({ONE}) headrace_queue_limit_rows{{{OF}}}",
        ),
    ),
    series(
        "In hand",
        "Requests that are with a worker, and those that wait for one.",
        "short",
        ("{{model}} in work", f"sum by (model) (headrace_in_flight_requests{{{OF}}})"),
        ("{{model}} waiting", f"sum by (model) (headrace_queued_requests{{{OF}}})"),
    ),
    series(
        "Batch size",
        "Requests and rows in a batch, on average. Batches grow with load by themselves.",
        "short",
        ("{{model}} requests", mean("headrace_batch_requests")),
        ("{{model}} rows", mean("headrace_batch_rows")),
    ),
    series(
        "Time in workers",
        "What a batch takes on average: understanding the requests, predict, writing the answers.",
        "s",
        ("{{model}} parse", mean("headrace_parse_seconds")),
        ("{{model}} predict", mean("headrace_predict_seconds")),
        ("{{model}} serialise", mean("headrace_serialise_seconds")),
    ),
    series(
        "Workers' use",
        "The share of their time that workers work. Near 100 % the queue grows: add replicas.",
        "percentunit",
        ("{{model}}", f'({BUSY}) / sum by (model) (headrace_workers{{{OF}, state="ready"}})'),
    ),
    row("Cache"),
    series(
        "Cache hits",
        "The share of requests that needed no worker: answered before, or just being answered.",
        "percentunit",
        (
            "{{model}}",
            rate("headrace_cache_requests_total", "model", f'{OF}, result=~"hit|coalesced"')
            + " / "
            + rate("headrace_cache_requests_total", "model"),
        ),
    ),
    series(
        "Cache size",
        "What the kept answers hold.",
        "bytes",
        ("{{model}}", f"sum by (model) (headrace_cache_bytes{{{OF}}})"),
    ),
    series(
        "Shared cache",
        "Look-ups and writes in Redis. failed and skipped: it is not reached in time.",
        "ops",
        ("{{model}} {{result}}", rate("headrace_shared_cache_total", "model, result")),
    ),
    row("Versions and rollouts"),
    panel(
        "table",
        "What serves",
        "Each model's version, its environment, its Python and its MLflow.",
        "short",
        ("", f"headrace_version_info{{{OF}}}"),
        width=16,
    ),
    panel(
        "timeseries",
        "Registry last reached",
        "Seconds since the registry last answered.",
        "s",
        ("{{instance}}", f"time() - headrace_registry_reached_timestamp_seconds{{{AT}}}"),
        width=8,
    ),
    panel(
        "state-timeline",
        "Versions",
        "When each version served (and in which other states it was).",
        "short",
        ("{{version}} {{state}}", f"max by (version, state) (headrace_version_state{{{OF}}})"),
        width=16,
    ),
    series(
        "Rollouts",
        "Versions brought up in the last hour, by outcome, and rollbacks.",
        "short",
        ("{{model}} {{outcome}}", f"sum by (model, outcome) (increase(headrace_rollouts_total{{{OF}}}[1h])) > 0"),
        ("{{model}} rolled back", f"sum by (model) (increase(headrace_rollbacks_total{{{OF}}}[1h])) > 0"),
    ),
    panel(
        "table",
        "Environment mismatches",
        "Packages that a version was not trained with. Empty is good.",
        "short",
        ("", f"headrace_environment_mismatch_info{{{OF}}}"),
        width=16,
    ),
    series(
        "Shadow",
        "Copies of requests that a shadow version answered equally, differently, with an error, or not at all.",
        "reqps",
        ("{{version}} {{result}}", rate("headrace_shadow_total", "version, result")),
    ),
    row("Workers and processes"),
    series(
        "Workers",
        "Workers by state, beside how many there should be.",
        "short",
        ("{{version}} {{state}}", f"sum by (version, state) (headrace_workers{{{OF}}}) > 0"),
        ("{{model}} wanted", f"sum by (model) (headrace_workers_wanted{{{OF}}})"),
    ),
    series(
        "Restarts",
        "Workers, gateways and registry agents replaced in five minutes.",
        "short",
        (
            "{{model}} worker {{reason}}",
            f"sum by (model, reason) (increase(headrace_worker_restarts_total{{{OF}}}[5m])) > 0",
        ),
        ("gateway", f"sum by (instance) (increase(headrace_gateway_restarts_total{{{AT}}}[5m])) > 0"),
        ("registry agent", f"sum by (instance) (increase(headrace_registry_agent_restarts_total{{{AT}}}[5m])) > 0"),
    ),
    series(
        "Memory",
        "Proportional set size: pages that processes share are divided among them, so the sum is what is used.",
        "bytes",
        ("{{role}} {{version}}", f"sum by (role, version) (headrace_process_proportional_memory_bytes{{{AT}}})"),
        stacked=True,
    ),
    series(
        "CPU",
        "Cores that each kind of process uses.",
        "short",
        ("{{role}} {{version}}", rate("headrace_process_cpu_seconds_total", "role, version", AT)),
        stacked=True,
    ),
    series(
        "Connections",
        "Open connections, and requests refused before they were understood.",
        "short",
        ("open", f"sum by (instance) (headrace_connections_open{{{AT}}})"),
        ("refused a second: {{code}}", rate("headrace_refused_total", "code", AT)),
    ),
    series(
        "Hazards",
        "Requests of which MLflow's protocol loses something silently (docs: coming-from-mlflow).",
        "reqps",
        ("{{version}} {{hazard}}", rate("headrace_hazards_total", "version, hazard")),
    ),
]


def variable(name: str, label: str, query: str) -> Json:
    """A choice at the top of the dashboard; All by default."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard() -> Json:
    """The whole of it, each panel in its place."""
    across, down, tall = 0, 0, 0
    for number, one in enumerate(PANELS, 1):
        place = one["gridPos"]
        if across + place["w"] > 24:
            across, down, tall = 0, down + tall, 0
        one["id"] = number
        one["gridPos"] = {**place, "x": across, "y": down}
        across, tall = across + place["w"], max(tall, place["h"])
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}}
    return {
        "uid": "headrace",
        "title": "headrace",
        "description": "Models that headrace serves: traffic, queues, versions, workers. Written by `make metrics`.",
        "tags": ["headrace", "mlflow"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                source,
                variable("job", "Job", "label_values(headrace_build_info, job)"),
                variable("instance", "Instance", 'label_values(headrace_build_info{job=~"$job"}, instance)'),
                variable("model", "Model", f"label_values(headrace_model_ready{{{AT}}}, model)"),
            ]
        },
        "annotations": {
            "list": [
                {
                    "name": "Rollouts",
                    "datasource": {"type": "prometheus", "uid": "${datasource}"},
                    "enable": True,
                    "iconColor": "blue",
                    "expr": f'sum by (model) (changes(headrace_rollouts_total{{{OF}, outcome="succeeded"}}[1m])) > 0',
                    "titleFormat": "{{model}}: a new version serves",
                }
            ]
        },
        "panels": PANELS,
    }


def main() -> int:
    """Write the file; with --check, only say whether it is up to date."""
    text = json.dumps(dashboard(), indent=1) + "\n"
    if "--check" in sys.argv[1:]:
        return 0 if FILE.is_file() and FILE.read_text(encoding="utf-8") == text else 1
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
