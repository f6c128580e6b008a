"""Errors of a version that has just taken over, read off the counters."""

import pytest

from headrace.core.rollout.baking import BakeLimits, Conduct, baseline, verdict
from headrace.core.telemetry.counts import read_counts
from headrace.core.telemetry.recent import Recent

OF = (("model", "m"), ("version", "m/2"))


@pytest.mark.parametrize("status", ["400", "500"])
def test_an_error_of_the_models_own_counts_once_whatever_its_status(status: str) -> None:
    samples = [
        ("headrace_requests_total", (*OF, ("route", "invocations"), ("status", "200")), 8.0),
        ("headrace_requests_total", (*OF, ("route", "invocations"), ("status", status)), 2.0),
        ("headrace_model_errors_total", (*OF, ("status", status)), 2.0),
    ]
    assert Conduct.counted(read_counts(samples)["m", "m/2"]).error_rate == 0.2


def test_what_another_model_counts_with_the_same_version_is_not_this_one_s() -> None:
    elsewhere = (("model", "staging"), ("version", "m/2"))
    samples = [
        ("headrace_requests_total", (*OF, ("route", "invocations"), ("status", "200")), 8.0),
        ("headrace_requests_total", (*elsewhere, ("route", "invocations"), ("status", "500")), 8.0),
        ("headrace_request_seconds_bucket", (*elsewhere, ("le", "0.1")), 8.0),
    ]
    assert Conduct.counted(read_counts(samples)["m", "m/2"]) == Conduct(8.0, 0.0, None)


def test_copies_for_a_shadow_are_nobodys_errors() -> None:
    samples = [
        ("headrace_requests_total", (*OF, ("route", "invocations"), ("status", "200")), 8.0),
        ("headrace_requests_total", (*OF, ("route", "shadow"), ("status", "500")), 8.0),
    ]
    assert Conduct.counted(read_counts(samples)["m", "m/2"]) == Conduct(8.0, 0.0, None)


LIMITS = BakeLimits(min_requests=20)


@pytest.mark.parametrize(
    ("past", "same", "chosen"),
    [
        (Conduct(1000, 0.0), Conduct(20, 0.5), "same"),  # both fail now: it is not the canary's fault
        (Conduct(1000, 0.0), Conduct(19, 0.5), "past"),  # too little is known of now
        (Conduct(3, 0.0), Conduct(10, 0.5), "same"),  # or of anything: what says more
        (Conduct(), Conduct(), "same"),
    ],
)
def test_what_a_canary_is_compared_with(past: Conduct, same: Conduct, chosen: str) -> None:
    assert baseline(past, same, LIMITS) is {"past": past, "same": same}[chosen]


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (Conduct(100, 0.50, 0.1), Conduct(100, 0.54, 0.1), None),
        (Conduct(100, 0.00, 0.1), Conduct(100, 0.06, 0.1), "6.0% of 100 answers were errors (0.0% with m/1)"),
        (Conduct(100, 0.00, 0.1), Conduct(19, 1.00, 0.1), None),
        (Conduct(100, 0.00, 0.1), Conduct(20, 0.00, 0.5), "its median latency is 500.0 ms (100.0 ms with m/1)"),
        (Conduct(100, 0.00, 0.2), Conduct(20, 0.00, 0.5), None),
        (Conduct(100, 0.00, 0.001), Conduct(20, 0.00, 0.049), None),  # small numbers vary by themselves
        (Conduct(19, 0.00, 0.1), Conduct(20, 0.00, 0.5), None),
    ],
)
def test_when_a_version_goes(before: Conduct, after: Conduct, why: str | None) -> None:
    assert verdict(before, after, LIMITS, "m/1") == why


def test_the_past_is_what_is_kept_of_it_and_no_more() -> None:
    """A slow night long ago is no excuse, nor a reproach."""
    recent = Recent(steps=10)

    def feed(now_s: float, slow: float, fast: float) -> None:
        samples = [
            ("headrace_requests_total", (*OF, ("route", "invocations"), ("status", "200")), fast),
            ("headrace_requests_total", (*OF, ("route", "invocations"), ("status", "500")), slow),
            ("headrace_request_seconds_bucket", (*OF, ("le", "0.1")), fast),
            ("headrace_request_seconds_bucket", (*OF, ("le", "+Inf")), fast + slow),
        ]
        recent.feed(samples, now_s)

    feed(0.0, 0, 0)
    feed(1.0, 1000, 0)
    assert Conduct.of(recent.figures("m", "m/2", steps=recent.fed)).error_rate == 1.0
    for step in range(2, 13):
        feed(float(step), 1000, 10.0 * step)
    assert Conduct.of(recent.figures("m", "m/2", steps=recent.fed)) == Conduct(90, 0.0, 0.05)
