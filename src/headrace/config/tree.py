"""What can be configured: the frozen tree that ``headrace.yaml`` and the command line both become.

The names are a contract with users. Durations are seconds (``_s``) or milliseconds (``_ms``), sizes bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from headrace.config.cluster import Cluster
from headrace.config.registry import Registry
from headrace.config.replicas import Replicas
from headrace.config.section import Count, NonEmpty, Port, Positive, Section
from headrace.config.security import Auth, Quota, Tls
from headrace.config.telemetry import Telemetry
from headrace.core.protocol.messages import BatchOptions, CacheOptions, QueueOptions

Percent = Annotated[int, Meta(ge=1, le=100)]
Weight = Annotated[int, Meta(ge=0, le=1_000_000)]
Share = Annotated[float, Meta(gt=0, le=1)]
EnvironmentPolicy = Literal["exact", "compatible", "local"]
MismatchPolicy = Literal["warn", "refuse"]
RequirementForm = Literal["files", "paths", "urls", "indexes"]


class Admin(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`admin:` the port for operators: health, state, metrics, the dashboard. Loopback unless told otherwise.

    `host` is the address it listens on. `port` 0 is any free one.
    `hosts`: names that it is known by, beside addresses and localhost (and, where it is not on loopback, names without
    a dot and those below .internal, .local and .svc). A request for any other name is refused: a web page of another
    site could have sent it.
    `tls` is for this port: a section of its own, true for that of the other ports (where there is one), false for none.
    """

    host: NonEmpty = "127.0.0.1"
    port: Port = 5100
    hosts: tuple[NonEmpty, ...] = ()
    tls: Tls | bool = True


class Gateway(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`gateway:` the process that clients talk to.

    `host` is the address that it and the models listen on. `port` None: no shared port. `grpc_port`: all models answer
    the Open Inference Protocol over gRPC there (extra `grpc`). `processes`: how many gateways share the ports; one is
    enough for most. Each takes at most `max_connections` at the same time. Requests with more than `max_header_bytes`
    of headers are refused with 431, with more than `max_body_bytes` of body with 413.

    The headers of a request must be there after `header_timeout_s`, each further part of its body and each part of an
    answer that a client takes after `body_timeout_s`; a connection without a request is closed after `keep_alive_s`.
    What is in flight when headrace is told to end has `drain_s` to finish. A gateway process that is `max_age_s` old is
    replaced by a new one, without a request lost; None: never.

    A streamed answer ends when its client has taken nothing for `stream_idle_s`, after `max_stream_s`, and before it
    holds more than `max_stream_bytes`; one address may have `max_streams_per_client` open in one gateway process, more
    are refused with 429 (behind a proxy all clients have its address). None: no limit.

    `max_memory_bytes`: how much of requests and unread answers one gateway process may hold, None: a quarter of memory
    (of the container's limit, where there is one), divided by `processes`. No body may be larger than half of it.
    `max_connections_per_client`: how many connections one address may have with one process. None: no own limit.

    `origins`: the web pages (https://app.example; "*": all) whose requests are taken from browsers, and which may read
    the answers (CORS). Of other sites' pages they are refused, but for those of this server's own names: `hosts`,
    beside addresses and localhost. Programs are not browsers, and need neither.
    """

    host: NonEmpty = "127.0.0.1"
    port: Port | None = None
    grpc_port: Port | None = None
    processes: Count = 1
    max_connections: Count = 10_000
    max_connections_per_client: Count | None = None
    max_memory_bytes: Count | None = None
    max_header_bytes: Count = 65_536
    max_body_bytes: Count = 64 * 1024 * 1024
    header_timeout_s: Positive = 30.0
    body_timeout_s: Positive = 60.0
    keep_alive_s: Positive = 75.0
    stream_idle_s: Positive = 60.0
    max_stream_s: Positive | None = 3600.0
    max_stream_bytes: Count | None = 1024 * 1024 * 1024
    max_streams_per_client: Count | None = 1_000
    drain_s: Positive = 30.0
    max_age_s: Annotated[float, Meta(ge=1)] | None = None
    origins: tuple[NonEmpty, ...] = ()
    hosts: tuple[NonEmpty, ...] = ()


class Mcp(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`mcp:` models as tools of agents: the Model Context Protocol at /mcp on the shared port (docs/mcp.md).

    `models`: which, by name or by pattern: `[topic, "sent*"]`. Who may ask a model may call its tool.
    """

    models: tuple[NonEmpty, ...]


class Errors(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`errors:` how failures are told. `mode` is `mlflow`, or `strict`: 4xx for callers' faults only, no traces."""

    mode: Literal["mlflow", "strict"] = "mlflow"


class Batch(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`batch:` how many requests become one predict; `max_rows: 1` turns it off.

    A predict gets at most `max_rows` rows and `max_bytes` of bodies; a request that is larger goes alone. With
    `max_delay_ms` an idle worker waits so long for more requests; it seldom helps.

    `tolerance`: how far a float of a shared predict may be from what the request alone gets. `auto`: by the rounding
    noise of the type in which the model computes. 0: not at all, answers are the same to the byte. Another number: by
    that share of it (below 1: by the number). A model whose answers differ by more is asked once for each request.
    """

    max_rows: Count = BatchOptions().max_rows
    max_bytes: Count = BatchOptions().max_bytes
    max_delay_ms: Annotated[float, Meta(ge=0)] = 0.0
    tolerance: Annotated[float, Meta(ge=0, lt=1)] | Literal["auto"] = "auto"


class Queue(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`queue:` how much may wait before requests are refused with 503 and Retry-After.

    `max_rows` and `max_bytes` hold for each version in each gateway process.
    `max_rows_per_client`: how many rows one client may have waiting or in work in one gateway process; more is refused
    with 429. A client is the value of `client_header`, or the address it comes from.
    """

    max_rows: Count = QueueOptions().max_rows
    max_bytes: Count = QueueOptions().max_bytes
    max_rows_per_client: Count | None = None
    client_header: Annotated[str, Meta(pattern="^[A-Za-z0-9-]+$")] | None = None


class Cache(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`cache:` keep answers; `ttl_s: null` keeps them until they are displaced.

    `max_bytes` is how much a gateway process keeps of a model; what was not asked for the longest goes first.
    `url` (redis://, rediss:// or unix://) names a Redis that machines share as a second level; who can write to it can
    forge answers. Needs the extra `redis`.
    """

    max_bytes: Count = CacheOptions().max_bytes
    ttl_s: Positive | None = 300.0
    url: Annotated[str, Meta(pattern="^(redis|rediss|unix)://")] | None = None


class Environments(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`environments:` how the environments are built that models were trained in.

    `interpreters` are paths tried before all others. With `download_interpreters` uv may fetch a Python that is not
    there. Without `source_builds` only wheels are installed. A build may take `build_timeout_s`. `allow`
    names what a model's requirements may hold beside plain requirements: `files` (`-r` and `-c` of a file in the
    model), `paths` (wheels in the model), `urls`, `indexes` (`--extra-index-url` and the like). `max_age_days` and
    `max_bytes` bound what is kept; None keeps everything.

    `wheels`: a directory that packages come from, and from nowhere else. `prebuilt`: a directory with environments that
    were built beforehand, which is only read. `headrace package` writes both.

    `share_imports`: models in the same environment, with the same variables, are forked from one process that has
    imported what they import (docs/fleet.md). False: each imports for itself, unless its own `share_imports` is true.

    A build runs code of packages: it gets the variables of uv, pip, compilers and the network, and those that
    `pass_env` names, by name or by pattern.
    """

    interpreters: tuple[NonEmpty, ...] = ()
    download_interpreters: bool = False
    allow: tuple[RequirementForm, ...] = ("files",)
    source_builds: bool = True
    build_timeout_s: Positive = 1800.0
    max_age_days: Positive | None = None
    max_bytes: Count | None = None
    pass_env: tuple[NonEmpty, ...] = ()
    wheels: NonEmpty | None = None
    prebuilt: NonEmpty | None = None
    share_imports: bool = True


class Checks(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`checks:` what a new version must show before any traffic reaches it.

    `example`: what happens where it fails on its own input example. `signature`: what happens where its signature would
    refuse what the serving one takes.

    `file`: golden requests, one JSON object a line: {"request": ..., "expected": ..., "tolerance": ..., "status": ...}.
    `tolerance`: how far a number may be from the expected one where a line has none of its own, as a share
    of it or as a difference.
    `max_latency_ratio`: how much longer its example may take than the serving version's; None does not look.
    """

    example: Literal["refuse", "warn"] = "refuse"
    signature: Literal["refuse", "warn"] = "refuse"
    file: NonEmpty | None = None
    tolerance: Annotated[float, Meta(ge=0)] = 1e-6
    max_latency_ratio: Positive | None = None


class Probe(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`probe:` ask the serving version for a prediction every `every_s` seconds, the way a client's request goes.

    `request` is the body; None: the model's own input example. So many probes in a row (`failures`) that are not
    answered with 200 within `timeout_s` make the model unready, `successes` in a row make it ready again. Requests are
    answered all the while.
    """

    every_s: Annotated[float, Meta(ge=0.1)] = 10.0
    timeout_s: Positive = 5.0
    failures: Count = 3
    successes: Count = 1
    request: dict[str, Any] | None = None


class Rollout(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`rollout:` what happens after a new version has taken over.

    It is watched for `bake_s` (0: not at all) and sent back when its share of errors is `max_error_rate` above the
    former version's, or its median latency `max_latency_ratio` times as long; the former stays warm for `keep_old_s`.
    One with a share of the traffic is compared with the main version, and gives its share back.
    Nothing is judged before `min_requests` answers.
    `steps`: a new version takes over in steps, each a share of the traffic in percent: [1, 10, 100]. A step lasts
    `bake_s`, and one that does badly meanwhile gives its share back. None: at once, but for a version without an
    example of its own that fails on one made up after its signature: 1, 10, then 100.
    What cannot be brought up for a reason that may pass is tried again after `retry_s`, then after twice that, and so
    on up to ten minutes.
    """

    keep_old_s: Annotated[float, Meta(ge=0)] = 600.0
    bake_s: Annotated[float, Meta(ge=0)] = 60.0
    max_error_rate: Annotated[float, Meta(gt=0, le=1)] = 0.05
    max_latency_ratio: Annotated[float, Meta(gt=1)] = 4.0
    min_requests: Count = 20
    steps: tuple[Percent, ...] | None = None
    retry_s: Positive = 30.0


class Shadow(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`shadow:` an `alias` whose version is sent a copy of a `share` of the requests; its answers are only compared."""

    alias: NonEmpty
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0


class PredictionLog(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`prediction_log:` keep requests and their answers as files `MODEL.jsonl` in the directory `path`.

    A share of `sample`, chosen by the request's id. A file is finished after `max_file_bytes` or `max_file_age_s` and
    turned into Parquet if `format` says so (needs the extra `parquet`); only the newest `keep` stay (None: all do).
    `redact` names members and columns whose values are left out; bodies above `max_body_bytes` are left out whole.
    """

    path: Path
    format: Literal["jsonl", "parquet"] = "jsonl"
    sample: Share = 1.0
    redact: tuple[NonEmpty, ...] = ()
    max_body_bytes: Count = 65_536
    max_file_bytes: Count = 64 * 1024 * 1024
    max_file_age_s: Positive = 3600.0
    keep: Count | None = 24


class Model(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `models:`.

    `uri`: models:/NAME@ALIAS, models:/NAME/3, models:/NAME/Production, runs:/RUN/PATH, models:/m-ID, or a path.
    `port` None: served on the shared port only. `host` None: the gateway's.
    `replicas` is how many processes predict; a section, {min: 1, max: 8}, has them follow the load: more when requests
    wait longer than `target_wait_ms`, fewer when for `idle_s` fewer would have done.
    A request is answered within `timeout_s`, or with 504. `threads` is how
    many threads the libraries in a replica start; None: as many as the machine has for it. `config` overrides the
    model's own configuration (model_config).

    `traffic`: aliases of the registered model and their weights, the uri's own alias among them; None: all to that one.
    Equal values of `sticky_header` (None: X-Request-Id) meet the same version. `shadow` is an alias, or a section.
    `pin_header`: a request may name a version or an alias that serves in the header Headrace-Version.

    `environment`: `exact` builds the one that the model was trained in, `compatible` does so unless the running one
    satisfies it, `local` uses the running one. `environment_mismatch` says whether a version is served that is not in
    the environment it asks for; None: `warn` under local, `refuse` otherwise. `share_imports`: whether its processes
    are forked from one that has imported what models there import; None: what `environments.share_imports` says.

    `concurrency`: how many calls a worker has under way at a time, in threads. `auto`: one, and more for a model that
    mostly waits, which is found out by what its calls take of the processors. 1 is for a model that must not be called
    by two threads. With a larger number, requests are not put together.

    `compile`: whether a faster form of what the model computes is used, where there is one and it is proved to answer
    the same bytes (docs/compiled.md). `auto`: the original serves until then; `require`: a version without one does not
    serve; `off`. Its proof may take `compile_s` seconds.

    `env` are variables for the model. Of those that headrace was started with it gets what concerns the machine
    (docs/environments.md) and those that `pass_env` names, by name or by pattern: `[OPENAI_API_KEY, AWS_*]`.
    """

    uri: NonEmpty
    port: Port | None = None
    host: NonEmpty | None = None
    replicas: Count | Replicas = 1
    target_wait_ms: Positive = 100.0
    idle_s: Positive = 60.0
    timeout_s: Positive = 60.0
    concurrency: Annotated[int, Meta(ge=1, le=1024)] | Literal["auto"] = "auto"
    threads: Count | None = None
    compile: Literal["auto", "off", "require"] = "auto"
    compile_s: Positive = 60.0
    batch: Batch = Batch()
    queue: Queue = Queue()
    cache: Cache | None = None
    errors: Errors | None = None
    config: dict[str, Any] | None = None
    env: dict[str, str] = {}  # noqa: RUF012 - a struct copies it
    pass_env: tuple[NonEmpty, ...] = ()
    checks: Checks = Checks()
    rollout: Rollout = Rollout()
    probe: Probe | None = None
    traffic: dict[NonEmpty, Weight] | None = None
    sticky_header: NonEmpty | None = None
    shadow: NonEmpty | Shadow | None = None
    pin_header: bool = False
    prediction_log: PredictionLog | None = None
    environment: EnvironmentPolicy = "compatible"
    environment_mismatch: MismatchPolicy | None = None
    share_imports: bool | None = None


class Wildcard(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`models: {"*": ...}`: every registered model that has the alias of `uri` (models:/*@ALIAS), at most `at_most`.

    Each is served on the shared port below /models/NAME with these settings, and comes and goes with its alias.
    """

    at_most: Count = 100


class Health(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`health:` when headrace as a whole is ready, and when one of its processes is taken for hung.

    `ready`: whether all models must be ready for /readyz (and /ping on the shared port) to say so, or any of them.
    A process that is silent for `hung_after_s` is replaced (None: never), and so is the supervisor itself when it
    stands still for so long.
    `failing`: what it means that at least half of a model's last answers are errors that are not the callers' fault, or
    that its own example fails. `warn`: it is shown everywhere, and logged; `unready`: the model is not ready, too.
    """

    ready: Literal["all", "any"] = "all"
    failing: Literal["warn", "unready"] = "warn"
    hung_after_s: Annotated[float, Meta(ge=0.5)] | None = 15.0


class Log(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`log:` one line an event. `format` `auto`: text on a terminal, JSON otherwise. `level`: what is less is left out.

    `access`: one line a request, for all (`full`), or for all that failed with 5xx and a share of `access_sample` of
    the others (`sampled`). `slow_s`: a line for each request that took as long, with where its time went; None: none.
    `exceptions`: of a model's exceptions the type, text and traceback (`full`), or the type and place only (`type`):
    texts may repeat what a client has sent.
    """

    format: Literal["auto", "text", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    access: Literal["off", "sampled", "full"] | bool = "off"
    access_sample: Share = 0.01
    slow_s: Positive | None = None
    exceptions: Literal["full", "type"] = "full"

    @property
    def access_mode(self) -> Literal["off", "sampled", "full"]:
        """`access` as a word: YAML reads `off` and `on` as truth values."""
        if isinstance(self.access, bool):
            return "full" if self.access else "off"
        return self.access


class Config(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole tree. Relative paths of files and directories start where the file is.

    `home` is where headrace keeps its caches (None: the user's cache directory). `bring_up_at_once`: how many
    versions, over all models, may load at the same time; None: as many as there are cores, and one that takes longer
    than 30 s goes on beside the next. `quotas` say how much clients may ask for. `audit`: a file that gets a line for
    each change of what is served, and who made it (None: none). `wildcard` is the entry "*" of `models:` in the file.
    """

    registry: Registry = Registry()
    cluster: Cluster | None = None
    tls: Tls | None = None
    auth: Auth | None = None
    quotas: dict[NonEmpty, Quota] = {}  # noqa: RUF012 - a struct copies it
    admin: Admin | None = Admin()
    gateway: Gateway = Gateway()
    models: dict[str, Model] = {}  # noqa: RUF012 - a struct copies it
    wildcard: Wildcard | None = None
    mcp: Mcp | None = None
    errors: Errors = Errors()
    environments: Environments = Environments()
    health: Health = Health()
    log: Log = Log()
    telemetry: Telemetry = Telemetry()
    audit: Path | None = None
    home: Path | None = None
    bring_up_at_once: Count | None = None

    @property
    def admin_tls(self) -> Tls | None:
        """What the admin port shows; None: it speaks plain HTTP."""
        if self.admin is None or self.admin.tls is False:
            return None
        return self.tls if self.admin.tls is True else self.admin.tls
