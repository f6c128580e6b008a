"""Which requests another web site could have made in an operator's browser."""

import pytest

from headrace.core.admin.origins import forgery, is_known_host


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:5100", "127.0.0.1:5100", "[::1]:5100", "a.localhost", "10.0.0.7", "ops.example"]
)
def test_addresses_localhost_and_names_that_were_told_are_known(host: str) -> None:
    assert is_known_host(host, {"ops.example"}, loopback=True)


@pytest.mark.parametrize(
    "host", ["headrace", "headrace:5100", "headrace.models.svc", "admin.svc.cluster.local", "h.internal."]
)
def test_private_names_are_known_unless_on_loopback(host: str) -> None:
    assert is_known_host(host, (), loopback=False)
    assert not is_known_host(host, (), loopback=True)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:5100", "a.test", "[", "x@evil.example"],
)
def test_what_can_be_registered_in_the_dns_is_not(host: str) -> None:
    assert not is_known_host(host, (), loopback=False)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:5100"},  # a program
        {"host": "127.0.0.1:5100", "sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:5100"},
        {"host": "127.0.0.1:5100", "sec-fetch-site": "none"},
        {"host": "127.0.0.1:5100", "content-type": "application/json; charset=utf-8"},
    ],
)
def test_programs_and_its_own_pages_are_believed(headers: dict[str, str]) -> None:
    assert forgery("POST", headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:5100", "sec-fetch-site": "cross-site"},
        {"host": "127.0.0.1:5100", "sec-fetch-site": "same-site"},  # another port of this machine
        {"host": "127.0.0.1:5100", "origin": "http://127.0.0.1:8888"},
        {"host": "127.0.0.1:5100", "origin": "null"},
        {"host": "127.0.0.1:5100", "content-type": "application/x-www-form-urlencoded"},
        {"host": "127.0.0.1:5100", "content-type": "Text/Plain; charset=utf-8"},
    ],
)
def test_what_another_site_could_send_is_refused_where_it_changes_something(headers: dict[str, str]) -> None:
    assert forgery("POST", headers)
    assert forgery("DELETE", headers)
    assert forgery("GET", headers) is None
