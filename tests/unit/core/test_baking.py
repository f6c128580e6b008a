"""Errors of a version that has just taken over, read off the counters."""

import pytest

from headrace.core.baking import Conduct, window

OF = (("model", "m"), ("version", "m/2"))


@pytest.mark.parametrize("status", ["400", "500"])
def test_an_error_of_the_models_own_counts_once_whatever_its_status(status: str) -> None:
    samples = [
        ("headrace_requests_total", (*OF, ("route", "invocations"), ("status", "200")), 8.0),
        ("headrace_requests_total", (*OF, ("route", "invocations"), ("status", status)), 2.0),
        ("headrace_model_errors_total", (*OF, ("status", status)), 2.0),
    ]
    assert window(samples, "m", "m/2").conduct.error_rate == 0.2


def test_what_another_model_counts_with_the_same_version_is_not_this_one_s() -> None:
    elsewhere = (("model", "staging"), ("version", "m/2"))
    samples = [
        ("headrace_requests_total", (*OF, ("route", "invocations"), ("status", "200")), 8.0),
        ("headrace_requests_total", (*elsewhere, ("route", "invocations"), ("status", "500")), 8.0),
        ("headrace_request_seconds_bucket", (*elsewhere, ("le", "0.1")), 8.0),
    ]
    assert window(samples, "m", "m/2").conduct == Conduct(8.0, 0.0, None)


def test_copies_for_a_shadow_are_nobodys_errors() -> None:
    samples = [
        ("headrace_requests_total", (*OF, ("route", "invocations"), ("status", "200")), 8.0),
        ("headrace_requests_total", (*OF, ("route", "shadow"), ("status", "500")), 8.0),
    ]
    assert window(samples, "m", "m/2").conduct == Conduct(8.0, 0.0, None)
