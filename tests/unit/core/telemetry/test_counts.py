"""Counts of a version, read from samples, and the quantile of their histogram."""

import pytest

from headrace.core.telemetry.counts import VersionCounts, quantile, read_counts

OF = (("model", "m"), ("version", "m/2"))
ROUTE = ("route", "invocations")


def test_each_count_has_its_metric() -> None:
    counts = read_counts(
        [
            ("headrace_requests_total", (*OF, ROUTE, ("status", "200")), 8.0),
            ("headrace_requests_total", (*OF, ROUTE, ("status", "404")), 3.0),
            ("headrace_requests_total", (*OF, ROUTE, ("status", "503")), 2.0),
            ("headrace_requests_total", (*OF, ("route", "shadow"), ("status", "500")), 9.0),
            ("headrace_model_errors_total", (*OF, ("status", "400")), 1.0),
            ("headrace_cache_requests_total", (*OF, ("result", "miss")), 4.0),
            ("headrace_cache_requests_total", (*OF, ("result", "shared")), 5.0),
            ("headrace_queued_requests", OF, 6.0),
            ("headrace_in_flight_requests", OF, 7.0),
            ("headrace_request_seconds_bucket", (*OF, ("le", "0.1")), 10.0),
            ("headrace_request_seconds_bucket", (*OF, ("le", "+Inf")), 13.0),
            ("headrace_gateways_running", (), 1.0),
        ]
    )
    assert counts == {
        ("m", "m/2"): VersionCounts(
            requests=13.0,
            errors=3.0,
            shed=2.0,
            rejected=2.0,
            cache_hits=5.0,
            cache_lookups=9.0,
            queued=6.0,
            in_flight=7.0,
            buckets={0.1: 10.0, float("inf"): 13.0},
        )
    }


def test_requests_that_no_version_could_take_are_the_models() -> None:
    samples = [("headrace_requests_total", (("model", "m"), ROUTE, ("status", "503")), 2.0)]
    assert read_counts(samples) == {("m", ""): VersionCounts(requests=2.0, errors=2.0, shed=2.0)}


def test_what_is_counted_since() -> None:
    earlier = VersionCounts(requests=3.0, errors=1.0, queued=5.0, buckets={1.0: 2.0})
    now = VersionCounts(requests=10.0, errors=1.0, queued=2.0, buckets={1.0: 6.0, 2.0: 8.0})
    since = now.since(earlier)
    assert since == VersionCounts(requests=7.0, queued=2.0, buckets={1.0: 4.0, 2.0: 8.0})
    assert since.median_s() == 1.0


@pytest.mark.parametrize(
    ("counts", "share", "value"),
    [
        ([0, 0, 0], 0.5, None),
        ([10, 0, 0], 0.5, 0.5),
        ([0, 10, 0], 0.5, 1.5),
        ([5, 0, 5], 0.5, 1.0),
        ([5, 0, 5], 0.9, 2.0),  # above all bounds: the highest is all that is known
        ([0, 0, 5], 0.5, 2.0),
    ],
)
def test_a_quantile_is_linear_within_its_bucket(counts: list[int], share: float, value: float | None) -> None:
    assert quantile([1.0, 2.0, float("inf")], counts, share) == value
