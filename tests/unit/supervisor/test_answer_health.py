"""What is told of a version that fails its requests."""

import json

import pytest

from headrace.core.protocol.messages import Failure, ModelFailed
from headrace.core.rollout.lifecycle import Life
from headrace.core.telemetry.counts import VersionCounts
from headrace.supervisor.answer_health import AnswerHealth
from headrace.supervisor.rollout.version import Version
from tests.unit.supervisor.rollout.fakes import quiet, resolved

SECRET = "Jane Doe"


@pytest.mark.parametrize("tells_texts", [True, False])
def test_texts_of_exceptions_are_told_only_where_they_may_be(*, tells_texts: bool) -> None:
    changes: list[None] = []
    health = AnswerHealth("topic", quiet(), lambda: changes.append(None), tells_texts=tells_texts)
    version = Version("topic", "production", 1, resolved("1"), Life())
    health.flipped(version, {})
    failure = Failure(type="ValueError", text=SECRET, status=400, error_code="BAD_REQUEST", request_ids=("one",))
    health.failed(ModelFailed(version.key, (failure,)))
    assert health.describe() is None, "one failure is not enough"
    health.count({("topic", version.label): VersionCounts(requests=4.0, errors=4.0)})
    told = health.describe()
    assert told is not None
    assert changes == [None]
    assert "ValueError" in told["reason"]
    assert (SECRET in json.dumps(told)) is tells_texts


def test_requests_shed_for_lack_of_room_do_not_count() -> None:
    health = AnswerHealth("topic", quiet(), lambda: None)
    version = Version("topic", "production", 1, resolved("1"), Life())
    health.flipped(version, {})
    health.count({("topic", version.label): VersionCounts(requests=9.0, errors=9.0, shed=9.0)})
    assert health.failing == ""
