"""No interleaving of moves, crashes and rollbacks loses the serving version or serves an unready one."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.core.lifecycle import State
from headrace.core.rollout import Action, CannotRollBack, Flip, Rollout, Start, Stop

UP = [State.FETCHED, State.ENVIRONMENT_READY, State.LOADING, State.WARMING, State.READY]
VERSIONS = st.sampled_from(["v1", "v2", "v3"])


class Rollouts(RuleBasedStateMachine):
    """Drives a Rollout as its shell does, in any order, and checks it after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.rollout = Rollout(keep_old_s=50)
        self.now_s = 0.0
        self.running: dict[str, object] = {}
        self.stopping: set[str] = set()
        self.ever_ready: set[str] = set()
        self.served = False
        self.refused: dict[object, object] = {}

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Start):
                assert action.key not in self.running
                assert self.refused.get(action.identity, self) != self.rollout.registry, "a bad version came back"
                self.running[action.key] = action.identity
            elif isinstance(action, Stop):
                assert action.key in self.running
                assert action.key != self.rollout.serving
                self.stopping.add(action.key)
            elif isinstance(action, Flip):
                assert action.key in self.running
                assert action.key not in self.stopping
                assert action.key in self.ever_ready
                self.served = True

    @rule(version=VERSIONS)
    def guess(self, version: str) -> None:
        self.do(self.rollout.guess(version, self.now_s))

    @rule(version=VERSIONS)
    def registry_points(self, version: str) -> None:
        if version != self.rollout.registry:
            self.refused.clear()
        self.do(self.rollout.pointed(version, self.now_s))

    @rule()
    def registry_unreachable(self) -> None:
        self.do(self.rollout.unreachable(self.now_s))

    @precondition(lambda self: self.rollout.candidate)
    @rule()
    def candidate_progresses(self) -> None:
        key = self.rollout.candidate
        assert key is not None
        state = self.rollout.slots[key].life.state
        if state is State.READY:
            return
        following = UP[0] if state is State.RESOLVED else UP[UP.index(state) + 1]
        if following is State.READY:
            self.ever_ready.add(key)
        self.do(self.rollout.progressed(key, following, self.now_s))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), for_good=st.booleans())
    def something_fails(self, data: st.DataObject, *, for_good: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        if key == self.rollout.candidate and for_good:
            self.refused[self.running[key]] = self.rollout.registry
        self.do(self.rollout.failed(key, "broken", self.now_s, for_good=for_good))

    @precondition(lambda self: self.stopping)
    @rule(data=st.data())
    def stopped_version_ends(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.stopping)))
        self.stopping.discard(key)
        del self.running[key]
        self.do(self.rollout.ended(key, self.now_s))

    @rule()
    def roll_back(self) -> None:
        serving = self.rollout.serving
        before = self.running.get(serving) if serving else None
        try:
            self.do(self.rollout.roll_back("asked for", self.now_s))
        except CannotRollBack:
            assert serving is None or self.rollout.warm is None
        else:
            assert self.rollout.wanted != before

    @rule()
    def asked_to_try_again(self) -> None:
        self.do(self.rollout.retry(self.now_s))

    @rule()
    def it_serves_elsewhere(self) -> None:
        self.do(self.rollout.rest(self.now_s))
        self.served = False

    @rule(seconds=st.floats(0, 700))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.do(self.rollout.tick(self.now_s))

    @invariant()
    def one_always_serves(self) -> None:
        serving = self.rollout.serving
        assert (serving is not None) == self.served
        if serving is not None:
            assert self.rollout.slots[serving].life.state is State.SERVING
            assert serving in self.running
            assert serving not in self.stopping
        states = [s.life.state for s in self.rollout.slots.values()]
        assert states.count(State.SERVING) <= 1

    @invariant()
    def memory_is_bounded(self) -> None:
        extra = [k for k in self.running if k not in self.stopping and k != self.rollout.serving]
        assert len(extra) <= 1

    def teardown(self) -> None:
        """Left alone, with the registry pointing at a good version, that version serves in the end."""
        self.do(self.rollout.pointed("last", self.now_s))
        for _ in range(50):
            if self.rollout.serving and self.running[self.rollout.serving] == "last":
                return
            for key in sorted(self.stopping):
                self.stopping.discard(key)
                del self.running[key]
                self.do(self.rollout.ended(key, self.now_s))
            if self.rollout.candidate:
                self.candidate_progresses()
        raise AssertionError(f"'last' never came to serve: {self.rollout}")


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
