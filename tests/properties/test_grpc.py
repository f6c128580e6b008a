"""Frames of any kind in any order: nothing that a client sends raises, and all that it made the gateway hold is free.

HEADRACE_DIFFERENTIAL_EXAMPLES says how many to try (100 unless set).
"""

from __future__ import annotations

import asyncio
import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.gateway.grpc import frames
from tests.grpc_rig.client import texts
from tests.grpc_rig.wire import SERVICE, Wire, gateway

BODY = texts("m", "good").SerializeToString()
MESSAGE = b"\0" + len(BODY).to_bytes(4) + BODY
NAMES = ("ModelInfer", "ModelStreamInfer", "ServerLive", "ModelMetadata", "RepositoryIndex", "Nothing")
numbers = st.integers(0, 9)
payloads = st.binary(max_size=30) | st.sampled_from([MESSAGE, MESSAGE[:9], MESSAGE * 2, b"\0\0\0\0\1", b"\0" * 8])
anything = st.builds(frames.frame, st.integers(0, 11), st.integers(0, 255), numbers, payloads)
data = st.builds(frames.frame, st.just(frames.DATA), st.sampled_from([0, 1]), numbers, payloads)
opened = st.tuples(numbers, st.sampled_from(NAMES), st.sampled_from([4, 5, 0]))


@settings(
    max_examples=int(os.environ.get("HEADRACE_DIFFERENTIAL_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(opened | data | anything, max_size=20), st.lists(st.integers(1, 40), max_size=10), st.booleans())
def test_no_frames_break_a_connection(told: list[object], cuts: list[int], late: bool) -> None:  # noqa: FBT001
    async def run() -> None:
        made = await gateway(max_body_bytes=100)
        wire = Wire(made)
        whole = b""
        for one in told:
            if isinstance(one, tuple):
                number, name, flags = one
                whole += wire.head(number, f"{SERVICE}/{name}", flags=flags)
            elif isinstance(one, bytes):
                whole += one
        for cut in cuts:
            wire.send(whole[:cut])
            whole = whole[cut:]
        wire.send(whole)
        if late:
            wire.connection.expire(wire.connection.deadline_s + 1000)
        wire.taken()
        wire.connection.connection_lost(None)
        assert made.state.memory.held_bytes == 0
        assert len(made.clients) == 0
        made.close()

    asyncio.run(run())
