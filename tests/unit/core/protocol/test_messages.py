"""What the supervisor and a gateway say to each other comes out as it went in, and names every pool it needs."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.core.protocol import framing
from headrace.core.protocol.liveness import Ping, Pong
from headrace.core.protocol.messages import (
    Applied,
    AskStats,
    BatchOptions,
    CacheOptions,
    Certificate,
    Configure,
    Crowded,
    Drain,
    Drained,
    Failure,
    FromGateway,
    Hazard,
    KeysWanted,
    Limits,
    Listener,
    ListensNoMore,
    ModelFailed,
    Pool,
    PoolLoad,
    Probe,
    Probed,
    QueueOptions,
    Recording,
    Route,
    Sampling,
    Shadow,
    Share,
    Split,
    Stats,
    Table,
    ToGateway,
    WorkerBroke,
    WorkerHung,
    WorkerLost,
    WorkerRef,
)
from headrace.core.security.access import Access
from headrace.core.security.keys import Key
from headrace.core.security.roles import Grant

SPLIT = Split(
    shares=(Share("canary", 1), Share("other", 2)),
    sticky_header="x-user",
    pin_header="x-version",
    pins={"3": "pinned", "champion": "main"},
    shadow=Shadow("shadow", 0.5),
)
ROUTE = Route(
    model="m",
    pool="main",
    concurrency=None,
    batch=BatchOptions(max_rows=8, max_delay_ms=1.5),
    queue=QueueOptions(max_rows_per_client=5, client_header="x-user"),
    cache=CacheOptions(ttl_s=None, url="redis://h"),
    errors="strict",
    split=SPLIT,
    prediction_log=Sampling(sample=0.1),
    unwell="probe: 500",
    failing="most answers are errors",
)
WORKERS = (WorkerRef("w1", "/tmp/w1.sock"),)  # noqa: S108 - a name
TABLE = Table(
    generation=7,
    routes=(ROUTE, Route(model="n", reason="it loads")),
    pools=(Pool(key="main", model="m", label="m/3", mlflow_version="3.1", workers=WORKERS, mergeable=False),),
    ready="any",
)
TO = [
    Certificate(pem=b"-----BEGIN", client_ca="-----BEGIN", optional=True, handshake_timeout_s=2.5, max_handshakes=7),
    Access(
        keys=(Key(id="0f" * 8, salt="1a" * 16, sha256="2b" * 32, grant=Grant(name="a", models=("topic*",))),),
        anonymous=Grant(name="anybody", roles=("read", "operate")),
        open_probes=False,
        proxy_header="x-user",
        proxy_addresses=("10.0.0.0/8",),
    ),
    Configure(
        index=1,
        listeners=(Listener(5, None), Listener(6, "m")),
        limits=Limits(max_stream_s=None, watched_headers=("x-user",)),
        recording=Recording(socket="s", access="full", slow_s=1.0),
    ),
    TABLE,
    Drain(),
    AskStats(3),
    Ping(),
    Probe(token=5, pool="main", body=b'{"inputs": [1]}', timeout_s=1.5),
]
FROM = [
    Applied(7),
    Drained("main"),
    ListensNoMore(),
    WorkerLost("w1", 2),
    WorkerHung("w1", 60.5),
    WorkerBroke("w1", "speaks no protocol"),
    Hazard("main", {"truncated": 2}),
    ModelFailed("main", (Failure(type="ValueError", where="m.py:3", text="\u00e9", request_ids=("a", "b")),)),
    KeysWanted("https://issuer.example"),
    PoolLoad(gateway=7, pool="main", asked=3, wait_s=0.25, busy=1.5),
    Crowded("descriptors"),
    Stats(3, [("headrace_requests_total", (("model", "m"), ("code", "200")), 5.0)]),
    Pong(),
    Probed(token=5, status=500, reason="why", took_s=0.5, asked=False),
]


@pytest.mark.parametrize(("kind", "messages"), [(ToGateway, TO), (FromGateway, FROM)], ids=["to", "from"])
def test_every_message_comes_out_as_it_went_in(kind: Any, messages: list[Any]) -> None:
    decoder: framing.Decoder[Any] = framing.Decoder(kind)
    assert decoder.feed(b"".join(map(framing.encode, messages))) == messages
    assert {type(message) for message in messages} == set(kind.__args__), "no kind of message is left out here"


@pytest.mark.parametrize("nonsense", [{"type": "Table", "generation": "x"}, {"type": "Crowded", "reason": "mood"}])
def test_a_message_whose_fields_do_not_fit_is_refused(nonsense: Any) -> None:
    for kind in (ToGateway, FromGateway):
        decoder: framing.Decoder[Any] = framing.Decoder(kind)
        with pytest.raises(framing.FramingError):
            decoder.feed(framing.encode(nonsense))


def test_a_route_names_every_pool_that_may_be_sent_something() -> None:
    assert ROUTE.pools == {"main", "canary", "other", "pinned", "shadow"}
    assert Route(model="m").pools == set()
    assert Route(model="m", pool="main", split=Split()).pools == {"main"}
    assert Route(model="m", split=SPLIT).pools == {"canary", "other", "pinned", "shadow", "main"}, "main by its pin"
