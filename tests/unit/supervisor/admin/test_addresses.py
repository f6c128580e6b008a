"""Addresses that were bound, as they are pasted and asked."""

import pytest

from headrace.supervisor.admin.addresses import authority, reachable, url


@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("0.0.0.0", "127.0.0.1:5001"),
        ("::", "[::1]:5001"),
        ("fd00::7", "[fd00::7]:5001"),
        ("10.0.0.7", "10.0.0.7:5001"),
    ],
)
def test_a_bound_address_can_be_asked(bound: str, asked: str) -> None:
    assert url((bound, 5001)) == f"http://{asked}"
    assert authority(reachable((bound, 5001))) == asked


def test_no_address_has_no_url() -> None:
    assert url(None) is None
