"""Counts by version: those of the versions that were counted last."""

from headrace.core.telemetry.tallies import Tallies


def test_the_versions_that_were_counted_last_are_kept() -> None:
    tallies = Tallies(most=2)
    for version in ("m/1", "m/2", "m/1", "m/3"):
        tallies.add(version, "passed")
    tallies.add("m/3", "failed", 5)
    assert list(tallies.items()) == [("m/1", "passed", 2), ("m/3", "passed", 1), ("m/3", "failed", 5)]
