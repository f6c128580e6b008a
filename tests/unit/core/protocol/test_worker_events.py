"""Whatever a worker sends, its supervisor gets events that are whole and in order, or one error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.protocol.worker_events import (
    Conversation,
    Event,
    Exited,
    Failed,
    Hello,
    Loaded,
    Phase,
    Pong,
    ProtocolError,
    Ready,
)

FACTS = {
    "mlflow_version": "3.17.2",
    "signature": {"inputs": '[{"type": "string"}]', "outputs": None, "params": None},
    "added_later": [1],
}
HELLO = {"event": "hello", "token": "t1", "role": "host"}
REPLICA = {**HELLO, "role": "replica"}
LOADED = {"event": "loaded", "facts": FACTS, "took_s": 1.5, "forkable": True}
FAILED = {"event": "failed", "reason": "no weights", "detail": "Traceback"}
READY = {"event": "ready", "facts": FACTS, "warm_up": {"ok": True, "status": 200, "rows_in": 1}, "rss_bytes": 5}
EXITED = {"event": "exited", "replica": "r1", "exit": -9}
PONG = {"event": "pong"}

HOST_THAT_FORKS = [HELLO, LOADED, "ping", PONG, "fork", EXITED]
HOST_THAT_SERVES = [HELLO, LOADED, "ping", "serve", PONG, READY, "ping", PONG]
FORKED = [REPLICA, READY, "ping", "ping", PONG, PONG]
LIVES: list[list[Any]] = [HOST_THAT_FORKS, HOST_THAT_SERVES, FORKED, [HELLO, FAILED]]


def line(event: object) -> bytes:
    return json.dumps(event).encode() + b"\n"


def live(steps: list[Any], conversation: Conversation) -> list[Event]:
    events = []
    for step in steps:
        if step == "ping":
            conversation.pinged()
        elif step == "serve":
            conversation.serves()
        elif step == "fork":
            conversation.forked("r1")
        else:
            events += conversation.feed(line(step))
    return events


@pytest.mark.parametrize("steps", LIVES, ids=["forks", "serves", "forked", "fails"])
def test_a_life_is_told_event_by_event(steps: list[Any]) -> None:
    kinds = {"hello": Hello, "loaded": Loaded, "failed": Failed, "ready": Ready, "exited": Exited, "pong": Pong}
    wanted = [kinds[step["event"]] for step in steps if isinstance(step, dict)]
    assert [type(event) for event in live(steps, Conversation())] == wanted


@given(st.lists(st.integers(1, 200)))
def test_any_cutting_gives_the_same_events(cuts: list[int]) -> None:
    stream = line(REPLICA) + line(READY)
    conversation = Conversation()
    got: list[Event] = []
    at = 0
    for cut in [*cuts, len(stream)]:
        got += conversation.feed(stream[at : at + cut])
        at += cut
    assert got == Conversation().feed(stream)


NONSENSE = {
    "no object": b"[]\n",
    "nothing": b"\n",
    "no JSON": b"{\n",
    "no text": b"\xff\xfe\n",
    "null": b"null\n",
    "half a pair": b'{"event": "\\ud800"}\n',
    "unknown": b'{"event": "nonsense"}\n',
    "no event": b"{}\n",
    "event of a list": b'{"event": ["ready"]}\n',
    "no facts": b'{"event": "ready"}\n',
    "depth": b"[" * 100_000 + b"\n",
    "digits": b'{"event": ' + b"1" * 5_000 + b"}\n",
    "endless": b" " * 17_000_000,
    "NaN": line({**LOADED, "took_s": float("nan")}),
    "memory": line({**READY, "rss_bytes": 2**70}),
    "version": line({**READY, "facts": {"mlflow_version": ["3"]}}),
    "signature": line({**READY, "facts": {"signature": {"inputs": [[]]}}}),
    "warm-up": line({**READY, "warm_up": {"ok": 1}}),
    "exit": line({**EXITED, "exit": 10**30}),
}


@pytest.mark.parametrize("data", NONSENSE.values(), ids=NONSENSE.keys())
@pytest.mark.parametrize("steps", [[], [HELLO], [HELLO, LOADED], [REPLICA], FORKED], ids=["0", "1", "2", "3", "4"])
def test_nonsense_is_refused_at_any_time(steps: list[Any], data: bytes) -> None:
    conversation = Conversation()
    live(steps, conversation)
    with pytest.raises(ProtocolError) as refused:
        conversation.feed(data)
    assert len(str(refused.value)) < 600


UNTIMELY: list[list[Any]] = [
    [READY],
    [HELLO, HELLO],
    [HELLO, READY],
    [HELLO, PONG],
    [HELLO, LOADED, LOADED],
    [HELLO, LOADED, READY],
    [HELLO, LOADED, EXITED],
    [HELLO, LOADED, "fork", EXITED, EXITED],
    [HELLO, LOADED, "ping", PONG, PONG],
    [HELLO, FAILED, LOADED],
    [HELLO, LOADED, "serve", READY, EXITED],
    [REPLICA, LOADED],
    [REPLICA, READY, READY],
]


@pytest.mark.parametrize("steps", UNTIMELY, ids=range(len(UNTIMELY)))
def test_what_comes_at_the_wrong_time_is_refused(steps: list[Any]) -> None:
    conversation = Conversation()
    live(steps[:-1], conversation)
    with pytest.raises(ProtocolError):
        live(steps[-1:], conversation)


def test_a_process_that_only_pongs_sends_little_at_a_time() -> None:
    """What is not worth 4 KiB is not waited for, once a process serves."""
    conversation = Conversation()
    live(FORKED, conversation)
    assert conversation.phase is Phase.SERVING
    with pytest.raises(ProtocolError, match="4096 bytes"):
        conversation.feed(b" " * 5000)


@given(st.lists(st.one_of(st.binary(max_size=50), st.sampled_from([line(s) for s in (REPLICA, READY, PONG)]))))
def test_any_bytes_give_events_or_one_error(pieces: list[bytes]) -> None:
    conversation = Conversation()
    for piece in pieces:
        try:
            assert all(isinstance(event, Event) for event in conversation.feed(piece))
        except ProtocolError:
            return
