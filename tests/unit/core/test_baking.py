"""Errors of a version that has just taken over, read off the counters."""

import pytest

from headrace.core.baking import window

OF = (("model", "m"), ("version", "m/2"))


@pytest.mark.parametrize("status", ["400", "500"])
def test_an_error_of_the_models_own_counts_once_whatever_its_status(status: str) -> None:
    samples = [
        ("headrace_requests_total", (*OF, ("route", "invocations"), ("status", "200")), 8.0),
        ("headrace_requests_total", (*OF, ("route", "invocations"), ("status", status)), 2.0),
        ("headrace_model_errors_total", (*OF, ("status", status)), 2.0),
    ]
    assert window(samples, "m/2").error_rate == 0.2
