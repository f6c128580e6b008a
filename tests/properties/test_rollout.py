"""No interleaving of moves, crashes and rollbacks loses the serving version or serves an unready one."""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.core.rollout.actions import Action, Flip, Share, Start, Stop
from headrace.core.rollout.lifecycle import State
from headrace.core.rollout.rollout import CannotPause, CannotRollBack, Rollout

UP = [State.FETCHED, State.ENVIRONMENT_READY, State.LOADING, State.WARMING, State.READY]
VERSIONS = st.sampled_from(["v1", "v2", "v3"])


class Rollouts(RuleBasedStateMachine):
    """Drives a Rollout as its shell does, in any order, and checks it after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.rollout = Rollout[str](keep_old_s=50)
        self.now_s = 0.0
        self.running: dict[str, object] = {}
        self.stopping: set[str] = set()
        self.ever_ready: set[str] = set()
        self.served = False
        self.heard = False
        self.refused: dict[object, object] = {}
        self.sent_back: set[object] = set()
        self.wrong: dict[object, set[str]] = {}  # with what was there then: whoever serves later was checked again
        self.steps: tuple[int, ...] = ()
        self.badly: set[object] = set()
        self.shares: dict[str, int] = {}
        self.last_step = 0

    def do(self, actions: list[Action[str]]) -> None:
        for action in actions:
            if isinstance(action, Start):
                assert self.running.keys() <= {self.rollout.serving}, "nothing starts before what drains has ended"
                assert self.refused.get(action.identity, self) != self.rollout.registry, "a bad version came back"
                self.running[action.key] = action.identity
            elif isinstance(action, Stop):
                assert action.key in self.running
                assert action.key != self.rollout.serving
                self.stopping.add(action.key)
            elif isinstance(action, Share):
                assert action.key == self.rollout.candidate
                assert action.key in self.ever_ready
                assert self.rollout.serving is not None
                assert 0 < action.percent < 100
                assert self.running[action.key] not in self.sent_back
                assert not self.rollout.paused, "a version changes while it is paused"
                self.shares[action.key] = action.percent
            elif isinstance(action, Flip):
                wary = action.key in self.shares and self.shares.pop(action.key) != self.last_step
                alone = action.old is None or self.running[action.old] in self.sent_back
                assert not wary or alone, "a step is left out"
                assert action.key in self.running
                assert action.key not in self.stopping
                assert action.key in self.ever_ready
                identity = self.running[action.key]
                assert action.key not in self.wrong.pop(identity, ()), "what was found to be wrong serves"
                assert identity not in self.sent_back, "what was sent back serves again"
                known = {self.rollout.held, self.rollout.pinned}
                assert self.heard or identity in known, "a guess serves before the registry was asked"
                assert not self.rollout.paused or action.old is None, "a version changes while it is paused"
                self.served = True
                self.badly.discard(identity)

    @rule(version=VERSIONS, ready=st.booleans())
    def guess(self, version: str, *, ready: bool) -> None:
        likely = self.rollout.likely(version)
        assert likely not in self.sent_back
        if likely is not None:
            self.do(self.rollout.guess(likely, self.now_s))
        for _ in UP if ready else ():
            if self.rollout.candidate is not None:
                self.candidate_progresses()

    @rule(version=VERSIONS)
    def registry_points(self, version: str) -> None:
        if version != self.rollout.pointed_at:
            self.refused.clear()
            self.sent_back.clear()
        self.wrong.pop(version, None)  # it may be checked, and serve, once more
        self.heard = True
        self.do(self.rollout.pointed(version, self.now_s))

    @rule()
    def registry_unreachable(self) -> None:
        self.heard = True
        self.do(self.rollout.unreachable(self.now_s))

    @rule(steps=st.sampled_from([(), (100,), (1, 10, 100), (50, 100)]))
    def versions_take_over_in(self, steps: tuple[int, ...]) -> None:
        if self.rollout.candidate is None:
            self.steps = steps

    @precondition(lambda self: self.rollout.candidate in self.shares)
    @rule()
    def a_step_goes_well(self) -> None:
        key = self.rollout.candidate
        assert key is not None
        before = self.shares[key]
        self.do(self.rollout.stepped(key, self.now_s))
        assert self.rollout.serving == key or self.shares[key] > before

    @precondition(lambda self: self.rollout.candidate in self.shares)
    @rule()
    def a_step_goes_badly(self) -> None:
        key = self.rollout.candidate
        assert key is not None
        self.sent_back.add(self.running[key])
        serving = self.rollout.serving
        self.do(self.rollout.withdraw_candidate(key, "errors", self.now_s))
        assert self.rollout.serving == serving, "the one beside it goes on"
        assert key in self.stopping

    @rule(version=VERSIONS, keep=st.booleans())
    def a_version_comes_to_serve(self, version: str, *, keep: bool) -> None:
        """The usual course, so that what is rare is tried from every state and not only from the first ones."""
        self.registry_points(version)
        for _ in range(20):
            if self.rollout.candidate in self.shares:
                self.a_step_goes_well()
            elif self.rollout.candidate is not None:
                self.candidate_progresses()
            elif self.stopping:
                self.stops_end()
        if not keep:
            self.time_passes(60)
            self.stops_end()

    def stops_end(self) -> None:
        for key in sorted(self.stopping):
            self.stopping.discard(key)
            del self.running[key]
            self.do(self.rollout.ended(key, self.now_s))

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
            self.rollout.set_steps(key, self.steps)
            self.last_step = self.steps[-2] if len(self.steps) > 1 else 0
        self.do(self.rollout.progressed(key, following, self.now_s))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), for_good=st.booleans(), wrong=st.booleans())
    def something_fails(self, data: st.DataObject, *, for_good: bool, wrong: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        if key == self.rollout.candidate and for_good:
            self.refused[self.running[key]] = self.rollout.registry
            if wrong:
                self.wrong[self.running[key]] = {*self.running}
        self.do(self.rollout.failed(key, "broken", self.now_s, for_good=for_good, wrong=for_good and wrong))

    @precondition(lambda self: self.stopping)
    @rule(data=st.data())
    def stopped_version_ends(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.stopping)))
        self.stopping.discard(key)
        del self.running[key]
        self.do(self.rollout.ended(key, self.now_s))

    def go_back(self, decide: Callable[[str, float], list[Action[str]]]) -> bool:
        """Whether it is possible; what serves is then bad, and nothing that was sent back is what is wanted."""
        serving = self.rollout.serving
        before = {*self.sent_back}
        if serving is not None:
            self.sent_back.add(self.running[serving])
        try:
            self.do(decide("it does badly", self.now_s))
        except CannotRollBack:
            self.sent_back = before
            assert serving is None or self.rollout.paused or not self.rollout.offered
            return False
        assert self.rollout.wanted not in self.sent_back
        return True

    @precondition(lambda self: self.rollout.offered)
    @rule(data=st.data())
    def roll_back_to_one_of_those_that_are_offered(self, data: st.DataObject) -> None:
        to = data.draw(st.sampled_from(self.rollout.offered))
        older = self.rollout.served[: self.rollout.served.index(to)]
        assert self.go_back(lambda reason, now_s: self.rollout.roll_back(reason, now_s, to))
        assert self.rollout.wanted == to
        assert {*self.rollout.offered} <= {*older}, "a second rollback goes further back"

    @rule(version=VERSIONS)
    def roll_back_to_what_is_not_offered(self, version: str) -> None:
        if version not in self.rollout.offered:
            before = self.rollout.wanted
            try:
                self.rollout.roll_back("a mistake", self.now_s, version)
            except CannotRollBack:
                assert self.rollout.wanted == before
            else:
                raise AssertionError(f"{version} was taken")

    @precondition(lambda self: self.rollout.serving)
    @rule(well=st.booleans())
    def it_fares(self, *, well: bool) -> None:
        assert self.rollout.serving is not None
        self.rollout.fares_well = well
        (self.badly.discard if well else self.badly.add)(self.running[self.rollout.serving])

    @rule()
    def pause(self) -> None:
        try:
            self.do(self.rollout.pause(self.now_s))
        except CannotPause:
            assert self.rollout.identity(self.rollout.serving) in self.sent_back
        else:
            assert self.rollout.wanted == self.rollout.identity(self.rollout.serving)

    @rule()
    def resume(self) -> None:
        self.do(self.rollout.resume(self.now_s))
        assert not self.rollout.paused

    @rule()
    def roll_back(self) -> None:
        warm = self.rollout.warm
        warm_as = self.running[warm] if warm is not None else None
        if self.go_back(self.rollout.roll_back) and self.rollout.held == warm_as:
            assert self.rollout.serving == warm, "at once where it is still warm"

    @rule()
    def what_serves_does_badly(self) -> None:
        wanted, serving = self.rollout.wanted, self.rollout.serving
        elsewhere = serving is not None and wanted not in {None, self.running[serving]}
        if self.go_back(self.rollout.send_back) and elsewhere:
            assert self.rollout.wanted == wanted, "what the registry points at now goes before what was"

    @precondition(lambda self: self.rollout.serving)
    @rule()
    def its_share_goes_to_another(self) -> None:
        assert self.rollout.serving is not None
        self.sent_back.add(self.running[self.rollout.serving])
        self.served = False
        self.do(self.rollout.withdraw("it does badly", self.now_s))
        assert self.rollout.served == []

    @rule(anew=st.booleans())
    def asked_to_try_again(self, *, anew: bool) -> None:
        if anew:
            self.refused.clear()
            self.sent_back.clear()
        self.do(self.rollout.retry(self.now_s, anew=anew))
        if anew and not self.rollout.paused:
            assert self.rollout.wanted == self.rollout.registry

    @precondition(lambda self: self.rollout.serving or self.sent_back)
    @rule()
    def headrace_restarts(self) -> None:
        old = self.rollout
        self.rollout = Rollout[str](keep_old_s=50)
        self.rollout.restore(
            old.served, old.pointed_at, old.held, old.marks.sent_back, old.marks.refused,
            ill=[*old.ill], paused=old.paused, pinned=old.pinned,
        )  # fmt: skip
        assert (self.rollout.paused, self.rollout.pinned) == (old.paused, old.pinned)
        self.running.clear()
        self.stopping.clear()
        self.ever_ready.clear()
        self.served = self.heard = False
        self.refused.clear()  # what was refused is checked again
        self.shares.clear()  # keys begin anew
        self.wrong = {identity: set() for identity in self.wrong}
        # How what served did was known to the process that has ended.
        self.badly &= {*old.ill}

    @rule()
    def it_serves_elsewhere(self) -> None:
        self.do(self.rollout.rest(self.now_s, "it serves elsewhere"))
        self.served = False
        self.refused.clear()
        self.sent_back.clear()

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
    def only_what_has_served_well_and_is_not_coming_is_offered(self) -> None:
        offered = {*self.rollout.offered}
        coming = {self.rollout.identity(key) for key in (self.rollout.serving, self.rollout.candidate)}
        assert not offered & (coming | self.sent_back | self.wrong.keys() | {self.rollout.wanted})
        assert not offered & self.badly

    @invariant()
    def memory_is_bounded(self) -> None:
        extra = [k for k in self.running if k not in self.stopping and k != self.rollout.serving]
        assert len(extra) <= 1

    def teardown(self) -> None:
        """Left alone, with the registry pointing at a good version, that version serves in the end, new or not."""
        self.resume()
        for version in ("last", "v1"):
            self.registry_points(version)
            for _ in range(50):
                if self.rollout.serving and self.running[self.rollout.serving] == version:
                    break
                self.stops_end()
                if self.rollout.candidate in self.shares:
                    self.a_step_goes_well()
                elif self.rollout.candidate:
                    self.candidate_progresses()
            else:
                raise AssertionError(f"{version} never came to serve: {self.rollout}")


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
