"""What is told of one alias: status, history, log, and what the next start must know."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from headrace.core.rollout.lifecycle import Life
from headrace.core.rollout.rollout import Rollout
from headrace.supervisor.rollout.history import History
from headrace.supervisor.rollout.policy import Objection, SentBack
from headrace.supervisor.rollout.record import AliasRecord
from headrace.supervisor.rollout.status import FINE, Kind, Status
from headrace.supervisor.rollout.version import Version
from headrace.telemetry.logs import make_log
from tests.unit.supervisor.rollout.fakes import resolved

ONE, TWO = (Version("topic", "production", number, resolved(str(number)), Life()) for number in (1, 2))


class Told:
    """A record with its history and its log."""

    def __init__(self, home: Path) -> None:
        self._stream = io.StringIO()
        self._history = History(home, "registry", "models:/topic@production", "topic")
        self.record = AliasRecord(self._history, make_log("json", stream=self._stream))

    @property
    def history(self) -> list[tuple[str, str, str]]:
        return [(one["event"], one["version"], one["reason"]) for one in self._history.last()]

    @property
    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_a_failure_is_told_until_a_version_serves(told: Told) -> None:
    told.record.failed(TWO, "no room", refused=False)
    assert told.record.status == Status(Kind.FAILED, "no room", "topic/2")
    assert told.record.status.problem == "topic/2: no room"
    failure = told.record.failure
    assert failure is not None
    assert (failure.label, failure.reason, failure.environment) == ("topic/2", "no room", None)
    told.record.failed(TWO, "accuracy", refused=True)
    assert told.record.status.kind is Kind.REFUSED
    told.record.serves(TWO, ONE, "the registry points at it")
    assert (told.record.status, told.record.failure) == (FINE, None)
    assert told.history == [
        ("failed", "topic/2", "no room"),
        ("refused", "topic/2", "accuracy"),
        ("serving", "topic/2", "the registry points at it"),
    ]


def test_what_is_sent_back_is_counted_and_keeps_the_status_unless_it_has_one(told: Told) -> None:
    told.record.failed(ONE, "no room", refused=False)
    told.record.sent_back(TWO, SentBack([], "rolled back", "by hand"))
    assert told.record.status.kind is Kind.FAILED
    gone = Status(Kind.WITHDRAWN, "errors", "topic/2")
    assert gone.problem == "topic/2: withdrawn: errors"
    told.record.sent_back(None, SentBack([], "withdrawn", "errors", gone))
    assert (told.record.status, told.record.rollbacks) == (gone, 2)
    assert told.history[1:] == [("rolled back", "topic/2", "by hand"), ("withdrawn", "", "errors")]
    assert [(one["event"], one["level"], one["version"]) for one in told.logged] == [
        ("rolled back", "warning", "topic/2"),
        ("withdrawn", "warning", None),
    ]


def test_a_version_that_does_badly_and_cannot_be_replaced_says_so(told: Told) -> None:
    told.record.not_replaced(ONE, "half of its answers are errors", "nothing served before")
    assert told.record.status.problem == "topic/1: half of its answers are errors; nothing served before"
    assert told.record.status.kind is Kind.DOES_BADLY
    assert told.history == []


def test_an_objection_is_told_once(told: Told) -> None:
    gone = Objection(Status(Kind.MISSING, "no such alias"), "no share", "its alias is gone", ends=True)
    told.record.failed(TWO, "no room", refused=False)
    assert told.record.objected(gone, ONE)
    assert not told.record.objected(gone, ONE)
    assert (told.record.status, told.record.failure) == (gone.status, None)
    assert told.history[1:] == [("ended", "topic/1", "its alias is gone")]
    assert [(one["event"], one["level"]) for one in told.logged] == [("no share", "info")]
    back = Objection(Status(Kind.SENT_BACK, "sent back elsewhere", "topic/2"), "no share", "it was sent back")
    assert told.record.objected(back, ONE)
    assert told.logged[-1]["level"] == "warning"
    assert len(told.history) == 2, "it has not ended for that"


@pytest.mark.parametrize("kind", list(Kind))
def test_what_the_registry_points_at_ends_only_what_is_about_the_registry(told: Told, kind: Kind) -> None:
    told.record.status = Status(kind, "text")
    told.record.followed()
    assert told.record.status.kind is (Kind.FINE if kind in {Kind.MISSING, Kind.SHARED, Kind.FINE} else kind)


def test_what_was_sent_back_before_a_restart_is_still_told(told: Told) -> None:
    told.record.withdrawn_before(resolved("2"), "errors")
    assert (told.record.status.kind, told.record.status.version) == (Kind.WITHDRAWN, "topic/2")
    assert told.record.status.problem == "topic/2: withdrawn: errors"


def test_an_error_of_our_own_is_told_with_its_traceback(told: Told) -> None:
    told.record.broke("a task broke", ZeroDivisionError("by 0"), ONE)
    assert told.record.status == Status(Kind.BROKEN, "a task broke: ZeroDivisionError: by 0")
    (logged,) = told.logged
    assert (logged["kept"], "ZeroDivisionError" in logged["exception"]) == ("topic/1", True)
    told.record.stopped(ValueError("why"))
    assert told.record.status.problem == "the alias is not followed any more: ValueError: why"


def test_the_next_start_knows_what_this_one_knew(told: Told, tmp_path: Path) -> None:
    rollout = Rollout[Any]()
    rollout.restore([resolved("1"), resolved("2")], resolved("2"), resolved("1"), {resolved("3"): "errors"}, {})
    rollout.marks.failed(resolved("4"), "accuracy", 0.0, refused=True)
    told.record.remember(rollout, {"inputs": "[]"})
    memory = Told(tmp_path).record.recall()
    assert memory.served == [resolved("1"), resolved("2")]
    assert (memory.pointed_at, memory.held) == (resolved("2"), resolved("1"))
    assert memory.sent_back == [(resolved("3"), "errors")]
    assert memory.refused == [(resolved("4"), "accuracy")]
    assert memory.signature == {"inputs": "[]"}
