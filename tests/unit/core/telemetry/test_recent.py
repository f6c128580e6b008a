"""What the last minutes say, computed from counters that only grow."""

import pytest

from headrace.core.telemetry.recent import Recent
from headrace.core.telemetry.totals import Sample

BOUNDS = ("0.001", "0.01", "0.1", "+Inf")


def counted(
    *,
    fast: int = 0,
    slow: int = 0,
    failed: int = 0,
    refused: int = 0,
    raised: int = 0,
    hits: int = 0,
    queued: int = 0,
    copies: int = 0,
    model: str = "mood",
    version: str = "mood/1",
) -> list[Sample]:
    """Counters after so many answers in 1 to 10 ms and so many in 10 to 100 ms; some of them errors."""
    of = (("model", model), ("version", version))
    every = fast + slow
    by_status = {"200": every - failed - refused - raised, "500": failed, "400": refused + raised}
    made: list[Sample] = [
        ("headrace_requests_total", (*of, ("route", "invocations"), ("status", status)), count)
        for status, count in by_status.items()
    ]
    made.append(("headrace_requests_total", (*of, ("route", "shadow"), ("status", "200")), copies))
    made.append(("headrace_model_errors_total", (*of, ("status", "400")), raised))
    made.append(("headrace_model_errors_total", (*of, ("status", "500")), failed))
    made.append(("headrace_cache_requests_total", (*of, ("result", "hit")), hits))
    made.append(("headrace_cache_requests_total", (*of, ("result", "miss")), every - hits))
    made.append(("headrace_queued_requests", of, queued))
    below = (0, fast, every, every)
    made += [("headrace_request_seconds_bucket", (*of, ("le", le)), n) for le, n in zip(BOUNDS, below, strict=True)]
    return made


def test_rates_latency_and_shares_of_known_traffic() -> None:
    recent = Recent()
    recent.feed(counted(fast=1000), 100.0)  # what was before the first is in no window
    assert recent.figures("mood").requests_per_s == 0
    recent.feed(counted(fast=1090, slow=10, failed=4, refused=6, raised=10, hits=25, queued=7), 102.0)
    now = recent.figures("mood")
    assert now.over_s == 2.0
    assert now.requests_per_s == 50.0
    assert now.p50_s == pytest.approx(0.001 + 0.009 * 50 / 90)
    assert now.p99_s == pytest.approx(0.01 + 0.09 * 9 / 10)
    assert now.error_rate == pytest.approx(0.14)
    assert now.rejected_rate == pytest.approx(0.06)
    assert now.cache_hit_rate == pytest.approx(0.25)
    assert now.queued == 7


def test_what_no_version_could_take_failed_all_the_same() -> None:
    recent = Recent()
    recent.feed([], 0.0)
    refused = (("model", "mood"), ("route", "invocations"), ("status", "503"))
    recent.feed([("headrace_requests_total", refused, 20)], 2.0)
    now = recent.figures("mood")
    assert (now.requests_per_s, now.error_rate, now.p99_s) == (10.0, 1.0, None)
    assert recent.versions("mood") == []
    assert sum(recent.rates("mood", steps=1)) == 10.0


def test_nothing_happened_is_not_zero_milliseconds() -> None:
    recent = Recent()
    for second in range(4):
        recent.feed(counted(fast=5), float(second))
    now = recent.figures("mood")
    assert (now.requests_per_s, now.p50_s, now.error_rate, now.cache_hit_rate) == (0.0, None, None, None)
    assert recent.figures("unknown").requests_per_s == 0.0


def test_a_late_sample_covers_the_time_that_it_covers() -> None:
    recent = Recent()
    recent.feed([], 0.0)
    recent.feed(counted(fast=100), 10.0)
    assert recent.figures("mood").requests_per_s == 10.0


def test_a_version_that_was_let_go_and_counts_anew_is_counted_from_zero() -> None:
    recent = Recent()
    recent.feed(counted(fast=1000, queued=5), 0.0)
    recent.feed([], 1.0)
    assert recent.figures("mood").queued == 0
    recent.feed(counted(fast=30), 2.0)
    assert recent.figures("mood", steps=1).requests_per_s == 30.0


def test_versions_apart_and_together() -> None:
    recent = Recent()
    recent.feed([], 0.0)
    recent.feed(counted(fast=30) + counted(fast=10, version="mood/2") + counted(fast=99, model="other"), 1.0)
    assert recent.versions("mood") == ["mood/1", "mood/2"]
    assert recent.figures("mood", "mood/1").requests_per_s == 30.0
    assert recent.figures("mood", "mood/2").requests_per_s == 10.0
    assert recent.figures("mood").requests_per_s == 40.0


def test_a_shadows_copies_are_no_requests() -> None:
    recent = Recent()
    recent.feed([], 0.0)
    recent.feed(counted(copies=5), 1.0)
    assert recent.figures("mood").requests_per_s == 0.0


def test_only_the_last_steps_are_kept_and_their_points_stay_what_they_are() -> None:
    recent = Recent(steps=12)
    seen: dict[float, float] = {}
    for step in range(60):
        recent.feed(counted(fast=step * step), float(step))
        for point in recent.points("mood", steps=3):
            rate = point.figures.requests_per_s
            assert seen.setdefault(point.at_s, rate) == rate
            # (n² - (n-3)²) / 3 requests a second; what there was before the first whole group is shown, too
            assert rate == pytest.approx(2 * point.at_s - min(3, point.at_s))
    points = recent.points("mood", steps=3)
    assert len(points) in {3, 4}
    assert points[0].at_s >= 59 - 12
    assert recent.rates("mood", steps=3) == [p.figures.requests_per_s for p in points]


def test_a_version_without_requests_is_forgotten_and_comes_back_without_its_past() -> None:
    recent = Recent(steps=5)
    recent.feed(counted(fast=10), 0.0)
    for second in range(1, 7):
        recent.feed(counted(fast=10), float(second))
    assert recent.versions("mood") == []
    recent.feed(counted(fast=13), 7.0)
    assert recent.versions("mood") == ["mood/1"]
    assert recent.figures("mood", steps=1).requests_per_s == 3.0
