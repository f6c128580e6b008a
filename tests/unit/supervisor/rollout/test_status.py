"""The line for people is made of a status's parts, which others read instead of the line."""

import pytest

from headrace.core.identity import Resolved
from headrace.supervisor.rollout.status import FINE, Kind, Status

SHARED = Resolved(uri="models:/topic@next", name="topic", version="2", source="/there", run_id=None)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (FINE, ""),
        (Status(Kind.FAILED, "no room", "topic/2"), "topic/2: no room"),
        (Status(Kind.REFUSED, "accuracy", "topic/2"), "topic/2: accuracy"),
        (Status(Kind.WITHDRAWN, "errors", "topic/2"), "topic/2: withdrawn: errors"),
        (Status(Kind.SENT_BACK, "sent back elsewhere", "topic/2"), "topic/2: sent back elsewhere"),
        (Status(Kind.SHARED, "another alias serves it already", "topic/2", SHARED), "another alias serves it already"),
        (Status(Kind.MISSING, "no such alias"), "no such alias"),
        (Status(Kind.BROKEN, "a task broke"), "a task broke"),
    ],
)
def test_the_line_names_the_version_that_it_is_about(status: Status, text: str) -> None:
    assert status.text == text


@pytest.mark.parametrize("kind", list(Kind))
def test_it_is_a_problem_unless_all_is_as_it_may_be(kind: Kind) -> None:
    status = Status(kind, "why")
    assert status.problem == ("" if kind in {Kind.FINE, Kind.MISSING, Kind.SHARED} else "why")
    assert status.missing == ("why" if kind is Kind.MISSING else "")
