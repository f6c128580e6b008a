"""The rules of a canary, beside neighbours that are plain objects."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.core.identity import Resolved
from headrace.core.rollout.actions import Stop
from headrace.core.rollout.lifecycle import Life, State
from headrace.core.rollout.rollout import Rollout
from headrace.supervisor.rollout.canary import CanaryPolicy, Neighbours
from headrace.supervisor.rollout.status import Kind
from headrace.supervisor.rollout.version import Version
from tests.unit.supervisor.rollout.fakes import resolved


@dataclass
class Alias:
    serving: Version | None = None
    bad: dict[Resolved, str] = field(default_factory=dict)

    def why_sent_back(self, which: Resolved) -> str:
        return self.bad.get(which, "")


def version(number: str) -> Version:
    return Version("topic", "production", 1, resolved(number), Life())


def policy(*aliases: Alias) -> CanaryPolicy:
    return CanaryPolicy(Neighbours(aliases))


def test_what_serves_beside_it_is_shared_and_not_brought_up() -> None:
    canary = policy(Alias(version("1")), Alias(version("2")), Alias())
    for number in ("1", "2"):
        objection = canary.objection(resolved(number))
        assert objection is not None
        assert (objection.status.kind, objection.status.shared) == (Kind.SHARED, resolved(number))
        assert objection.status.problem == ""
        assert not objection.ends
    assert canary.objection(resolved("3")) is None


def test_what_was_sent_back_beside_it_is_not_tried_with_a_share() -> None:
    canary = policy(Alias(version("1")), Alias(None, {resolved("2"): "errors"}))
    objection = canary.objection(resolved("2"))
    assert objection is not None
    assert objection.status.kind is Kind.SENT_BACK
    assert objection.status.problem == "topic/2: sent back where it had all the traffic: errors"
    both = policy(Alias(version("2"), {resolved("2"): "errors"})).objection(resolved("2"))
    assert both is not None
    assert both.status.kind is Kind.SHARED, "it serves there now"


def test_an_alias_that_is_gone_ends_the_share() -> None:
    objection = policy(Alias()).absent("no such alias")
    assert objection is not None
    assert (objection.status.kind, objection.status.missing, objection.ends) == (Kind.MISSING, "no such alias", True)


def test_it_is_compared_with_the_main_version_whatever_it_served_itself() -> None:
    main, own = version("1"), version("2")
    aliases = [Alias(main), Alias(version("3"))]
    canary = policy(*aliases)
    assert canary.compared_with(own) is main
    assert canary.compared_with(None) is main
    aliases[0].serving = None
    assert canary.compared_with(own) is None
    assert canary.is_watched(None)
    assert canary.has_fallback(Rollout())


def test_a_start_guesses_what_it_followed_itself() -> None:
    assert policy(Alias()).hint(resolved("9"), resolved("1")) == resolved("1")
    assert policy(Alias()).hint(resolved("9"), None) is None


def test_a_canary_that_does_badly_gives_its_share_back() -> None:
    rollout = Rollout[Resolved]()
    rollout.pointed(resolved("2"), 0.0)
    key = rollout.candidate
    assert key is not None
    for state in (State.FETCHED, State.ENVIRONMENT_READY, State.LOADING, State.WARMING, State.READY):
        rollout.progressed(key, state, 0.0)
    sent_back = policy(Alias(version("1"))).send_back(rollout, version("2"), "half are errors", 1.0)
    assert [(one.key, one.drain) for one in sent_back.actions if isinstance(one, Stop)] == [(key, True)]
    assert (sent_back.event, sent_back.reason) == ("withdrawn", "half are errors")
    assert sent_back.status is not None
    assert (sent_back.status.kind, sent_back.status.version) == (Kind.WITHDRAWN, "topic/2")
    assert sent_back.status.problem == "topic/2: withdrawn: half are errors"
    assert rollout.serving is None
    assert rollout.marks.was_sent_back(resolved("2"))
