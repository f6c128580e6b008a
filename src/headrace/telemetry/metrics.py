"""Every metric of headrace: its name, its type and its meaning.

Names and units follow Prometheus' conventions: counters end in `_total`, durations are seconds, sizes bytes. No label's
value is a client's to choose: models, versions and packages are the registry's, everything else is one of a few words.
docs/metrics.md is written from this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

_VERSION = ("model", "version")


@dataclass(frozen=True)
class Definition:
    """One metric as the reference page has it. `unit` is what one of it is; `labels` those that a series may have."""

    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()


GROUPS: dict[str, dict[str, Definition]] = {
    "Requests": {
        "headrace_requests_total": Definition(
            "counter",
            "requests",
            "Requests answered, by route (invocations, shadow, health, version, models...) and status. Those that no "
            "version could take have no version, and only invocations have a model.",
            (*_VERSION, "route", "status"),
        ),
        "headrace_protocol_requests_total": Definition(
            "counter",
            "requests",
            "Predictions asked for in another protocol than MLflow's: v2 (Open Inference Protocol), v1 (KServe), "
            "openai, grpc, mcp (calls of tools). They are in all other numbers, too.",
            ("model", "protocol"),
        ),
        "headrace_request_seconds": Definition(
            "histogram",
            "seconds",
            "Time from a request's arrival to its answer (a stream's: to its first byte).",
            _VERSION,
        ),
        "headrace_in_flight_requests": Definition("gauge", "requests", "Requests that are with a worker.", _VERSION),
        "headrace_model_errors_total": Definition(
            "counter",
            "requests",
            "Answers that are errors of the model's own, by the status that they are told with (MLflow's is 400; 200: "
            "a stream that broke off). A shadow's are not counted.",
            (*_VERSION, "status"),
        ),
        "headrace_shed_total": Definition(
            "counter", "requests", "Requests refused with 503 because the queue was full.", _VERSION
        ),
        "headrace_dropped_total": Definition(
            "counter",
            "requests",
            "Requests whose client left before the answer was complete. But for streams "
            "that had begun, none of them is counted as answered.",
            _VERSION,
        ),
        "headrace_deadline_exceeded_total": Definition(
            "counter", "requests", "Requests that timed out: answered with 504 when their deadline passed.", _VERSION
        ),
        "headrace_retried_total": Definition(
            "counter", "requests", "Requests given to another worker after theirs had died.", _VERSION
        ),
        "headrace_concurrency": Definition(
            "gauge",
            "calls",
            "Calls that a worker may have under way at a time, as set or as found out (concurrency: auto).",
            _VERSION,
        ),
        "headrace_streams_open": Definition(
            "gauge",
            "streams",
            "Streamed answers under way, by state: running (a worker is at work on it), parked (it waits for its "
            "client to read, or for its turn with its worker, which does other things meanwhile).",
            (*_VERSION, "state"),
        ),
        "headrace_stream_first_chunk_seconds": Definition(
            "histogram",
            "seconds",
            "Time from the arrival of a request for a stream until the model's first piece came from its worker.",
            _VERSION,
        ),
        "headrace_stream_chunks_total": Definition(
            "counter", "chunks", "Pieces of streams that models gave.", _VERSION
        ),
        "headrace_stream_tokens_total": Definition(
            "counter",
            "tokens",
            "Tokens by kind (input, output), where a streamed event tells of its usage as OpenAI's or MLflow's do.",
            (*_VERSION, "kind"),
        ),
        "headrace_stream_limits_total": Definition(
            "counter",
            "streams",
            "Streams that a limit ended or refused, by the setting: stream_idle_s, max_stream_s, max_stream_bytes, "
            "max_streams_per_client.",
            (*_VERSION, "limit"),
        ),
        "headrace_shadow_total": Definition(
            "counter",
            "requests",
            "Copies of requests for a shadow, by result: equal, different, error, dropped.",
            (*_VERSION, "result"),
        ),
        "headrace_hazards_total": Definition(
            "counter",
            "requests",
            "Requests of which MLflow's protocol loses something without saying so, by hazard.",
            (*_VERSION, "hazard"),
        ),
    },
    "Connections": {
        "headrace_connections_total": Definition("counter", "connections", "Connections accepted on the data ports."),
        "headrace_tls_handshakes_total": Definition(
            "counter",
            "handshakes",
            "TLS handshakes of clients, by how they ended: ok; failed; refused, for tls.max_handshakes were under way.",
            ("result",),
        ),
        "headrace_certificate_expiry_timestamp_seconds": Definition(
            "gauge",
            "Unix seconds",
            "When the certificate that ports show will expire: minus time() this is how long it still holds.",
            ("setting",),
        ),
        "headrace_certificate_reloads_total": Definition(
            "counter",
            "certificates",
            "Certificates whose files have changed, by result: ok; failed (they do not go together, or are damaged: "
            "the former one is shown on).",
            ("setting", "result"),
        ),
        "headrace_access_refused_total": Definition(
            "counter",
            "requests",
            "Requests answered with 401 or 403, by port (data, admin) and reason: missing (nothing was shown), wrong "
            "(a key that is none), forbidden (it lacks the role or the model).",
            ("port", "reason"),
        ),
        "headrace_quota_requests_total": Definition(
            "counter",
            "requests",
            "Requests of clients that have a quota and that passed it, by the name of their key; anonymous: of all who "
            "have none, others: of those beyond the first 200.",
            ("key",),
        ),
        "headrace_quota_refused_total": Definition(
            "counter",
            "requests",
            "Requests answered with 429 because a quota was used up, by the name of the key and the limit.",
            ("key", "limit"),
        ),
        "headrace_connections_open": Definition("gauge", "connections", "Connections that are open."),
        "headrace_refused_total": Definition(
            "counter",
            "requests",
            "Requests refused before they were understood (malformed, too large, too slow, too "
            "many connections), by error code.",
            ("code",),
        ),
        "headrace_turned_away_total": Definition(
            "counter",
            "connections",
            "Connections that were answered with 503 at once, by reason: connections (there are too many), client (its "
            "address has too many), descriptors (the process has none to spare); and unread: cut off because its "
            "client left most of its answers unread when memory ran out.",
            ("reason",),
        ),
        "headrace_request_memory_bytes": Definition(
            "gauge",
            "bytes",
            "What gateways hold of requests that arrive or wait and of answers that are not read. A request of up to "
            "8 KiB that is alone on its connection does not count.",
        ),
        "headrace_request_memory_limit_bytes": Definition(
            "gauge", "bytes", "How much that may be: gateway.max_memory_bytes of each gateway."
        ),
    },
    "Queue and batches": {
        "headrace_queue_wait_seconds": Definition(
            "histogram", "seconds", "Time from a request's arrival until it was sent to a worker.", _VERSION
        ),
        "headrace_queued_requests": Definition("gauge", "requests", "Requests that wait for a worker.", _VERSION),
        "headrace_queued_rows": Definition("gauge", "rows", "Rows that wait for a worker, as estimated.", _VERSION),
        "headrace_queued_bytes": Definition("gauge", "bytes", "Bytes of bodies that wait for a worker.", _VERSION),
        "headrace_queue_limit_rows": Definition(
            "gauge", "rows", "Rows that may wait before requests are shed: queue.max_rows of each gateway.", ("model",)
        ),
        "headrace_batches_total": Definition("counter", "batches", "Batches that workers answered.", _VERSION),
        "headrace_batch_requests": Definition("histogram", "requests", "Requests in a batch.", _VERSION),
        "headrace_batch_rows": Definition("histogram", "rows", "Input rows in a batch, as the worker says.", _VERSION),
        "headrace_rows_total": Definition("counter", "rows", "Input rows answered.", _VERSION),
        "headrace_predicts_total": Definition("counter", "calls", "Calls of a model's predict.", _VERSION),
        "headrace_parse_seconds": Definition(
            "histogram", "seconds", "Time that a worker spent on a batch's requests before predict.", _VERSION
        ),
        "headrace_predict_seconds": Definition(
            "histogram",
            "seconds",
            "Time that a worker spent in a batch's predict. Batches without one are left out.",
            _VERSION,
        ),
        "headrace_serialise_seconds": Definition(
            "histogram", "seconds", "Time that a worker spent on a batch's answers after predict. As above.", _VERSION
        ),
    },
    "Cache": {
        "headrace_cache_requests_total": Definition(
            "counter",
            "requests",
            "Requests that met the cache, by result: hit, miss, coalesced.",
            (*_VERSION, "result"),
        ),
        "headrace_cache_entries": Definition("gauge", "entries", "Answers that the cache keeps.", _VERSION),
        "headrace_cache_bytes": Definition("gauge", "bytes", "What the kept answers hold.", _VERSION),
        "headrace_shared_cache_total": Definition(
            "counter",
            "entries",
            "Entries asked of and written to the shared cache (Redis), by result: hit, miss, failed, skipped, written, "
            "unwritten.",
            (*_VERSION, "result"),
        ),
    },
    "Workers": {
        "headrace_model_ready": Definition(
            "gauge", "0 or 1", "1 if a worker of the model can take a request, and its probes do not fail.", ("model",)
        ),
        "headrace_model_failing": Definition(
            "gauge",
            "0 or 1",
            "1 while at least half of the last answers of the version that serves are errors that are not the "
            "callers' fault, or its own example fails and nothing better is known of it.",
            ("model",),
        ),
        "headrace_probes_total": Definition(
            "counter", "probes", "Predictions asked for by probe:, by result: passed, failed.", (*_VERSION, "result")
        ),
        "headrace_workers": Definition(
            "gauge",
            "processes",
            "Workers by state: loading (the model), starting (warming up), ready, leaving (one too many).",
            (*_VERSION, "state"),
        ),
        "headrace_model_asleep": Definition("gauge", "", "1 while it has no worker for want of requests.", ("model",)),
        "headrace_workers_wanted": Definition("gauge", "processes", "Ready workers that there should be.", ("model",)),
        "headrace_worker_restarts_total": Definition(
            "counter",
            "processes",
            "Workers that ended and were replaced, by reason: died (crashed, killed, out of memory), hung (did not "
            "answer within timeout_s), protocol (closed a connection to headrace, or sent what it must not), host (the "
            "process that they are forked from), load (did not load).",
            (*_VERSION, "reason"),
        ),
        "headrace_workers_lost_total": Definition(
            "counter", "connections", "Connections between a gateway and a worker that broke.", _VERSION
        ),
        "headrace_workers_hung_total": Definition(
            "counter", "processes", "Workers that a gateway found silent for timeout_s.", _VERSION
        ),
    },
    "Versions and rollouts": {
        "headrace_version_info": Definition(
            "gauge",
            "1",
            "The version that serves a model: the URI that leads to it, the policy and the digest of its "
            "environment (running: no own one), its Python and its MLflow.",
            (*_VERSION, "uri", "policy", "environment", "python", "mlflow"),
        ),
        "headrace_version_state": Definition(
            "gauge",
            "1",
            "Every version that there is (serving, coming up, kept warm, draining) and its state.",
            (*_VERSION, "state"),
        ),
        "headrace_compiled_info": Definition(
            "gauge",
            "1",
            "How far a version is with a faster form of its model: none (there is none), proving, shadow (the original "
            "and it answer both), compiled (it answers), refused (an answer differed; the original answers, for good).",
            (*_VERSION, "state"),
        ),
        "headrace_compiled_compared_total": Definition(
            "counter",
            "rows",
            "Live rows that were answered by the original and by the faster form, by what came of it (equal, "
            "different). A difference that the proof has found counts as one row.",
            (*_VERSION, "result"),
        ),
        "headrace_rollouts_total": Definition(
            "counter",
            "rollouts",
            "Versions that were brought up, by outcome: succeeded (it has taken over), failed, refused (by a check), "
            "abandoned (another was wanted before it was ready).",
            ("model", "outcome"),
        ),
        "headrace_rollout_problem": Definition(
            "gauge",
            "0 or 1",
            "1 while the version that should serve could not be brought up, or was withdrawn; another serves, or none.",
            ("model",),
        ),
        "headrace_rollbacks_total": Definition(
            "counter", "rollbacks", "Rollbacks, by hand or by themselves, and canaries that were withdrawn.", ("model",)
        ),
        "headrace_registry_reached_timestamp_seconds": Definition(
            "gauge", "Unix seconds", "When the registry last answered: time() minus this is how long ago."
        ),
        "headrace_registry_problem": Definition(
            "gauge", "0 or 1", "1 while the registry cannot be followed for a model.", ("model",)
        ),
    },
    "Environments": {
        "headrace_environment_mismatches": Definition(
            "gauge",
            "packages",
            "Packages (and Python) that are not as the model requires; 1, too, where its requirements cannot be read.",
            _VERSION,
        ),
        "headrace_environment_mismatch_info": Definition(
            "gauge",
            "1",
            "One of them: what is required, what was found, and the verdict (differs, missing, "
            "unreadable). At most 50 for each version.",
            (*_VERSION, "package", "required", "found", "verdict"),
        ),
    },
    "Processes": {
        "headrace_build_info": Definition(
            "gauge", "1", "headrace's version, and the Python that it runs on.", ("version", "python")
        ),
        "headrace_started_timestamp_seconds": Definition("gauge", "Unix seconds", "When headrace was started."),
        "headrace_supervisor_restarts_total": Definition(
            "counter", "processes", "Supervisors that died and were replaced."
        ),
        "headrace_gateways_running": Definition("gauge", "processes", "Gateways that run."),
        "headrace_gateway_restarts_total": Definition("counter", "processes", "Gateways that ended and were replaced."),
        "headrace_registry_agent_restarts_total": Definition("counter", "processes", "Registry agents replaced."),
        "headrace_process_cpu_seconds_total": Definition(
            "counter",
            "seconds",
            "CPU time by role (keeper, supervisor, registry, recorder, gateway, zygote, host, replica); index numbers "
            "processes of the same kind, and a replacement takes over its predecessor's.",
            ("role", *_VERSION, "index"),
        ),
        "headrace_process_resident_memory_bytes": Definition(
            "gauge",
            "bytes",
            "Resident memory (RSS). What forked replicas share with their host counts for each.",
            ("role", *_VERSION, "index"),
        ),
        "headrace_process_proportional_memory_bytes": Definition(
            "gauge",
            "bytes",
            "Memory with shared pages divided among those that share them (PSS): what a sum is right "
            "of. Read once a minute, of workers; of the others only where headrace may trace them (as root).",
            ("role", *_VERSION, "index"),
        ),
    },
    "Logs and traces": {
        "headrace_records_total": Definition(
            "counter",
            "records",
            "Requests told to the access log (access), the prediction logs (prediction), as spans to a collector "
            "(trace) or as traces to MLflow (mlflow_trace), by result: written, failed (a full disk), dropped (the "
            "recorder was behind), unsent (it did not take it).",
            ("log", "result"),
        ),
        "headrace_model_spans_total": Definition(
            "counter",
            "spans",
            "Spans that models have made with MLflow's tracing, by result: written, failed (MLflow refused them), "
            "cut (more than one request may have); and frames of them that were dropped (too many wait for "
            "MLflow) or unsent (the recorder did not take them).",
            ("result",),
        ),
        "headrace_mlflow_traces_up": Definition(
            "gauge", "", "1 while MLflow takes traces, 0 since it did not take them; absent without mlflow_traces."
        ),
    },
}

DEFINITIONS: dict[str, Definition] = {name: one for group in GROUPS.values() for name, one in group.items()}
