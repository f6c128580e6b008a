"""A version is as far as the last of its replicas, and what they have compared is counted once."""

from __future__ import annotations

from typing import Literal

import structlog

from headrace.core.protocol.worker_events import Compiled
from headrace.supervisor.processes.compiled_states import CompiledStates

State = Literal["none", "proving", "shadow", "compiled", "refused"]


def told(state: State, equal: int = 0, different: int = 0) -> Compiled:
    return Compiled(state=state, form="a forest", equal_rows=equal, different_rows=different, reason=f"{state}?")


def test_a_version_is_as_far_as_its_last_replica() -> None:
    states = CompiledStates(structlog.get_logger())
    assert (states.state, states.describe()) == (None, None)
    states.hear("1", told("compiled"))
    states.hear("2", told("shadow"))
    assert states.state == "shadow"
    states.hear("2", told("compiled"))
    assert states.state == "compiled"
    states.hear("1", told("refused", different=1))
    assert states.state == "refused", "one refusal is everybody's"
    states.forget("1")
    assert states.state == "compiled"


def test_rows_are_counted_once_and_stay_counted() -> None:
    states = CompiledStates(structlog.get_logger())
    for equal in (10, 30, 30):
        states.hear("1", told("shadow", equal))
    states.hear("2", told("shadow", 5))
    states.forget("1")
    states.hear("3", told("shadow", 1, 1))
    assert states.rows == {"equal": 36, "different": 1}
    described = states.describe()
    assert described is not None
    assert (described["equal_rows"], described["different_rows"], described["form"]) == (36, 1, "a forest")


def test_a_replica_that_counts_backwards_takes_nothing_away() -> None:
    states = CompiledStates(structlog.get_logger())
    states.hear("1", told("shadow", 10))
    states.hear("1", told("shadow", 3))
    assert states.rows["equal"] == 10


def test_a_change_of_state_is_logged_once() -> None:
    with structlog.testing.capture_logs() as events:
        states = CompiledStates(structlog.get_logger())
        for state in ("proving", "shadow", "shadow", "refused", "refused"):
            states.hear("1", told(state))
    assert [(e["event"], e.get("state")) for e in events] == [
        ("faster form", "proving"),
        ("faster form", "shadow"),
        ("faster form refused", None),
    ]
