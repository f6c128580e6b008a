"""Which pages may ask."""

import pytest

from headrace.core.security.pages import Pages

PAGES = Pages(origins=("https://app.example",), hosts=("serving.example",))


@pytest.mark.parametrize(
    ("origin", "site", "host", "passes"),
    [
        (None, None, "localhost:5001", True),  # a program
        (None, "none", "localhost:5001", True),  # typed into the address bar
        ("https://app.example", "cross-site", "localhost:5001", True),
        ("https://evil.example", "cross-site", "localhost:5001", False),
        ("https://evil.example", None, "localhost:5001", False),  # a browser that does not say more
        ("null", None, "localhost:5001", False),  # a sandboxed frame, or a file
        (None, "cross-site", "localhost:5001", False),  # an image
        ("http://localhost:3000", "same-site", "localhost:5001", False),
        ("http://localhost:5001", "same-origin", "localhost:5001", True),
        ("http://127.0.0.1:5001", "same-origin", "127.0.0.1:5001", True),
        ("http://evil.example:5001", "same-origin", "evil.example:5001", False),  # its name was pointed here
        ("https://serving.example", "same-origin", "serving.example", True),
        ("http://[bad", None, "[bad", False),
    ],
)
def test_pages_pass_where_they_are_listed_or_ours(
    origin: str | None,
    site: str | None,
    host: str,
    passes: bool,  # noqa: FBT001 - the expected outcome
) -> None:
    assert (PAGES.refusal(origin, site, host, loopback=True) is None) is passes


def test_names_without_a_dot_are_ours_in_a_network_and_not_on_loopback() -> None:
    asked = ("http://serving:5001", "same-origin", "serving:5001")
    assert PAGES.refusal(*asked, loopback=False) is None
    assert PAGES.refusal(*asked, loopback=True) is not None


def test_all_pages_may_ask_where_that_is_said() -> None:
    assert Pages(origins=("*",)).refusal("https://evil.example", "cross-site", "x", loopback=True) is None
