"""Who fails to sign in has to wait, and nobody else."""

from __future__ import annotations

from headrace.core.security.attempts import Attempts


def test_an_address_may_fail_so_often_and_then_waits() -> None:
    attempts = Attempts(most=3, within_s=60)
    for at in (0.0, 10.0, 20.0):
        assert attempts.wait_s("10.0.0.1", at) == 0
        attempts.failed("10.0.0.1", at)
    assert attempts.wait_s("10.0.0.1", 20.0) == 40
    assert attempts.wait_s("10.0.0.2", 20.0) == 0
    assert attempts.wait_s("10.0.0.1", 60.0) == 0
    attempts.failed("10.0.0.1", 60.0)
    assert attempts.wait_s("10.0.0.1", 60.0) == 0


def test_the_addresses_of_one_network_are_one_in_ipv6_and_a_mapped_one_is_itself() -> None:
    attempts = Attempts(most=1, within_s=60)
    attempts.failed("2001:db8:1:2::7", 0.0)
    assert attempts.wait_s("2001:db8:1:2:ffff::1%eth0", 1.0) > 0
    assert attempts.wait_s("2001:db8:1:3::7", 1.0) == 0
    attempts.failed("::ffff:10.0.0.1", 0.0)
    assert attempts.wait_s("10.0.0.1", 1.0) > 0
    assert attempts.wait_s("10.0.0.2", 1.0) == 0
    attempts.failed("no address", 0.0)
    assert attempts.wait_s("no address", 1.0) > 0


def test_so_many_addresses_are_remembered() -> None:
    attempts = Attempts(most=1, within_s=60, addresses=5)
    for number in range(20):
        attempts.failed(f"10.0.0.{number}", float(number))
    assert len(attempts) == 5
    assert attempts.wait_s("10.0.0.19", 20.0) > 0
