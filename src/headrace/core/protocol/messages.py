"""What the supervisor and a gateway say to each other, as frozen data.

The supervisor says what *should be* (`Table`, the whole of it each time); a gateway makes it so and says what *is*.
Whole states instead of changes: a gateway that has just been restarted needs nothing but the newest table.
The framing is a little-endian u32 length before each message, the encoding MessagePack.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.core.protocol.liveness import Ping, Pong
from headrace.core.security.access import Access
from headrace.core.security.pages import Pages
from headrace.core.security.quotas import Quota


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on what a client controls. None stands for no limit."""

    max_connections: int = 10_000
    max_connections_per_client: int | None = None
    max_memory_bytes: int = 1024 * 1024 * 1024
    max_header_bytes: int = 65_536
    max_body_bytes: int = 64 * 1024 * 1024
    header_timeout_s: float = 30.0
    body_timeout_s: float = 60.0
    keep_alive_s: float = 75.0
    max_pipelined: int = 64
    stream_idle_s: float = 60.0
    max_stream_s: float | None = 3600.0
    max_stream_bytes: int | None = 1024 * 1024 * 1024
    max_streams_per_client: int | None = 1_000
    watched_headers: tuple[str, ...] = ()
    """Headers that a `Split` looks at, in lower case."""


class BatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How requests of one model are put together. `max_rows=1` turns batching off."""

    max_rows: int = 256
    max_bytes: int = 4 * 1024 * 1024
    max_delay_ms: float = 0.0


class QueueOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How much may wait for a worker of one model before further requests are shed with 503.

    `max_rows_per_client` (None: no limit) bounds what one client has waiting or in work: more is refused with 429. A
    client is the value of `client_header` (lower case; it must be one of `Limits.watched_headers`), or, where that is
    None or not sent, the address that the connection comes from.
    """

    max_rows: int = 20_000
    max_bytes: int = 256 * 1024 * 1024
    max_rows_per_client: int | None = None
    client_header: str | None = None


class CacheOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The prediction cache of one model; `ttl_s` None keeps an answer until it is displaced.

    `url` is the Redis that is its second level, None: there is none. It may hold a password: it is never logged.
    """

    max_bytes: int = 64 * 1024 * 1024
    ttl_s: float | None = 300.0
    url: str | None = None


class Listener(msgspec.Struct, frozen=True):
    """An inherited listening socket: `model` None is the shared port. `tls`: the newest `Certificate` holds.

    `loopback`: it is reached from this machine alone. `grpc`: gRPC is spoken there, not HTTP.
    """

    fd: int
    model: str | None
    tls: bool = False
    loopback: bool = True
    grpc: bool = False


class WorkerRef(msgspec.Struct, frozen=True):
    """A worker that has said it is ready; the gateway connects to its Unix socket."""

    id: str
    socket: str


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """The workers of one served version. `key` is unique for ever; `label` is what `Headrace-Model` says.

    `identity` names what computes the answers (model, environment, options), alike on every machine, so that machines
    can share a cache. Empty: not known. `alone`: where it is left to be found out how many calls may be beside each
    other in a worker, it is one. `about` is what can be told of the model without asking it, as JSON: its signature,
    an example. Empty: nothing. `follows`: the supervisor wants to hear of its `PoolLoad`. `asleep`: it has no workers
    because nobody has asked for anything, and is ready all the same; `trouble`: why it could not be woken.
    """

    key: str
    model: str
    label: str
    mlflow_version: str
    identity: str = ""
    about: str = ""
    workers: tuple[WorkerRef, ...] = ()
    mergeable: bool = True
    alone: bool = False
    follows: bool = False
    asleep: bool = False
    trouble: str = ""


class Share(msgspec.Struct, frozen=True):
    """A version's part of a model's traffic, relative to the sum of all weights."""

    pool: str
    weight: int


class Shadow(msgspec.Struct, frozen=True):
    """The version that is sent a copy of a share (0 to 1) of the requests that others answer."""

    pool: str
    share: float


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """How a model's requests are divided. `Route.pool` is the main version: it takes what no other can.

    `sticky_header` (lower case; None: x-request-id) names the header whose value decides. With `pin_header` a request
    that carries it goes where `pins` says (a version or an alias -> pool), or is answered with 404.
    """

    shares: tuple[Share, ...] = ()
    sticky_header: str | None = None
    pin_header: str | None = None
    pins: dict[str, str] = {}
    shadow: Shadow | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests of a model the recorder is sent with their bodies; of larger bodies it only hears."""

    sample: float = 1.0
    max_body_bytes: int = 64 * 1024


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """Where the recorder listens, and what it wants to hear of.

    `trace_sample` None: no traces, not even callers', and `mlflow_sample` None: none for MLflow.
    """

    socket: str
    access: Literal["off", "sampled", "full"] = "off"
    access_sample: float = 0.01
    slow_s: float | None = None
    trace_sample: float | None = None
    mlflow_sample: float | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model's requests go. `pool` None: no version of it serves yet, `reason` says why."""

    model: str
    pool: str | None = None
    reason: str = ""
    timeout_s: float = 60.0
    concurrency: int | None = 1
    """How many calls a worker may have under way at a time; None: as many as their computing leaves room for."""
    batch: BatchOptions = BatchOptions()
    queue: QueueOptions = QueueOptions()
    cache: CacheOptions | None = None
    errors: Literal["mlflow", "strict"] = "mlflow"
    split: Split | None = None
    prediction_log: Sampling | None = None
    unwell: str = ""
    """Why the model's probes fail, where they do: health says so, requests are answered as well as can be."""
    failing: str = ""
    """Why the model is of no use although it is ready: most of its answers are errors."""

    @property
    def pools(self) -> set[str]:
        """Every pool that this route may send a request to."""
        split = self.split
        found = {self.pool} if self.pool is not None else set()
        if split is not None:
            found |= {share.pool for share in split.shares} | set(split.pins.values())
            found |= {split.shadow.pool} if split.shadow is not None else set()
        return found


class Ties(msgspec.Struct, frozen=True):
    """What a gateway lives by when its supervisor has died; descriptors that it inherits.

    It ends at once when the other end of `lifeline_fd` is closed. When that of `leash_fd` is, another gateway has taken
    over: it finishes what it has within `within_s`, and ends.
    """

    lifeline_fd: int
    leash_fd: int
    within_s: float


class Configure(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The first message to a gateway: what never changes while it lives."""

    index: int
    listeners: tuple[Listener, ...]
    limits: Limits = Limits()
    drain_s: float = 30.0
    recording: Recording | None = None
    pages: Pages = Pages()
    processes: int = 1
    """How many parts the memory of quotas has, each for one process to write."""
    quota_part: int | None = None
    """The part that this gateway writes; None: that of its index."""
    quota_fd: int | None = None
    """Memory that they share, to count in what clients use; None: nothing is shared."""
    ties: Ties | None = None
    """None: it lives as long as its control channel."""
    guarded: bool = False
    """Whether an `Access` came before it: without one nobody is let in then."""


class Certificate(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What a port with TLS shows to every client that connects from now on; it comes before `Configure`.

    `pem` holds the certificate, those between it and its authority, and the private key: it is never logged.
    `client_ca` (PEM; None: clients are not asked for certificates) names whose certificates clients may show;
    `optional`: they need not. `handshake_timeout_s` and `max_handshakes` bound the handshakes that are under way.
    """

    pem: bytes
    client_ca: str | None = None
    optional: bool = False
    handshake_timeout_s: float = 10.0
    max_handshakes: int = 1_000

    def __repr__(self) -> str:
        return "<Certificate>"


class Table(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """All routes and pools as they should be from now on; answered with `Applied`.

    A pool that is no longer in the table gets nothing new, finishes what it was given, and is then reported `Drained`.
    """

    generation: int
    routes: tuple[Route, ...]
    pools: tuple[Pool, ...]
    open: bool = True
    """Whether clients are taken: until it is, others answer on the same ports. A gateway that has begun goes on."""
    ready: Literal["all", "any"] = "all"
    """How many models must be ready for the shared port to be."""
    quotas: tuple[Quota, ...] = ()
    """How much clients may ask for; of each the first that fits."""
    tools: tuple[str, ...] | None = None
    """Patterns of the models that are tools of MCP on the shared port; None: MCP is not spoken."""


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Stop accepting, finish what is in flight within `within_s` (None: `Configure.drain_s`), then end with code 0.

    `patient`: another gateway has taken over, and nothing presses. A connection on which nothing is asked then stays
    until its next answer, or until it is idle for too long as ever. A later `Drain` takes the place of one before it.
    """

    within_s: float | None = None
    patient: bool = False


class AskStats(msgspec.Struct, frozen=True, tag=True):
    """Answer with `Stats` now."""

    token: int


class Probe(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Have a pool answer this JSON body as if a client had sent it, within `timeout_s`; answered with `Probed`."""

    token: int
    pool: str
    body: bytes
    timeout_s: float


class Applied(msgspec.Struct, frozen=True, tag=True):
    """The table of this generation is in force for every request from now on.

    `listens`: clients that connect are taken, which they are not before a table that is `open`.
    """

    generation: int
    listens: bool = True


class Drained(msgspec.Struct, frozen=True, tag=True):
    """Nothing of this pool is queued or in flight here any more."""

    pool: str


class ListensNoMore(msgspec.Struct, frozen=True, tag=True):
    """This gateway was told to drain, and accepts no connection any more: who connects meets another."""


class WorkerLost(msgspec.Struct, frozen=True, tag=True):
    """The connection to this worker broke; `in_flight` requests were with it and go elsewhere once."""

    worker: str
    in_flight: int


class WorkerHung(msgspec.Struct, frozen=True, tag=True):
    """A batch has been with this worker longer than the model's `timeout_s`: the supervisor should kill it."""

    worker: str
    running_s: float


class WorkerBroke(msgspec.Struct, frozen=True, tag=True):
    """This worker has sent what it must not, and is not talked to any more: the supervisor should kill it."""

    worker: str
    reason: str


FAILS_BESIDE = "fails-beside-others"
"""The hazard of a model that failed on requests beside others, and on none of the same alone."""


class Hazard(msgspec.Struct, frozen=True, tag=True):
    """Hazards of the protocol that a worker noticed (counts by name since the last such message)."""

    pool: str
    counts: dict[str, int]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Requests on which a model failed in the same way: `type` was raised at `where` (file and line).

    `text` is what it said the first time, `traceback` is there once for each kind and worker. Both may repeat what a
    client has sent. Where no exception is known, `type` is empty. `status` and `error_code` are of the last answer,
    `request_ids` of the last few requests.
    """

    type: str = ""
    where: str = ""
    text: str = ""
    traceback: str = ""
    count: int = 1
    status: int = 500
    error_code: str = ""
    request_ids: tuple[str, ...] = ()


class ModelFailed(msgspec.Struct, frozen=True, tag=True):
    """How a model failed since the last such message, by kind."""

    pool: str
    failures: tuple[Failure, ...]


class KeysWanted(msgspec.Struct, frozen=True, tag=True):
    """A token of this issuer (its name in `Access`) is signed with a key that is not among those that are known."""

    issuer: str


class PoolLoad(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What a pool with `follows` has to do in the gateway with this process id: said twice a second while it has.

    Also at once when a request comes and the pool sleeps. For the numbers see `core.processes.scaling.Load`.
    """

    gateway: int
    pool: str
    asked: int
    wait_s: float
    busy: float


class Crowded(msgspec.Struct, frozen=True, tag=True):
    """Connections are turned away for this reason (see `core.serving.crowd`): told at most once a minute."""

    reason: Literal["connections", "client", "descriptors"]


class Stats(msgspec.Struct, frozen=True, tag=True):
    """Counters of this gateway since its start: `values` maps a metric's name and labels to its value."""

    token: int
    values: list[tuple[str, tuple[tuple[str, str], ...], float]]


class Probed(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What came of a `Probe`: an HTTP status and, unless that is 200, why. `took_s` includes the wait for a worker.

    `asked` False: no worker was free to take it in time, so that it says nothing of the model.
    """

    token: int
    status: int
    reason: str = ""
    took_s: float = 0.0
    asked: bool = True


ToGateway = Access | Certificate | Configure | Table | Drain | AskStats | Ping | Probe
News = WorkerLost | WorkerHung | WorkerBroke | Hazard | ModelFailed | PoolLoad
"""What a gateway says of workers and models without being asked."""

FromGateway = Applied | Drained | ListensNoMore | News | KeysWanted | Crowded | Stats | Pong | Probed
