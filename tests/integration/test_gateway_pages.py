"""Web pages and data ports, against a real gateway process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.core.security.access import Access
from headrace.core.security.keys import make
from headrace.core.security.pages import Pages
from headrace.core.security.roles import Grant
from tests.gateway_rig.client import Reply, get, post
from tests.gateway_rig.rig import GatewayRig

KEY, TOKEN = make(bytes(56), Grant(name="page"))
APP = "Origin: https://app.example"


@pytest.fixture(scope="module")
def rig() -> Iterator[GatewayRig]:
    with GatewayRig(("topic",), pages=Pages(origins=("https://app.example",))) as rig:
        rig.serve(rig.worker("w1"))
        yield rig


def ask(rig: GatewayRig, data: bytes) -> Reply:
    with rig.client() as client:
        return client.ask(data)


@pytest.mark.parametrize(
    "headers",
    [
        ("Origin: https://evil.example",),
        ("Origin: http://test", "Sec-Fetch-Site: same-origin"),  # `test` is no name of ours: it was pointed here
        ("Origin: null",),
        ("Sec-Fetch-Site: cross-site",),
        ("Origin: https://evil.example", "Content-Type: text/plain"),
    ],
)
def test_what_a_page_of_another_site_has_a_browser_send_is_refused(rig: GatewayRig, headers: tuple[str, ...]) -> None:
    for data in (post(b"7", *headers), get("/version", *headers), get("/ping", *headers)):
        for _ in range(2):
            reply = ask(rig, data)
            assert (reply.status, reply.json()["error_code"]) == (403, "PERMISSION_DENIED")
            assert "access-control-allow-origin" not in reply.headers
    before = ask(rig, get("/invocations", *headers, "Access-Control-Request-Method: POST", method="OPTIONS"))
    assert (before.status, before.headers["allow"]) == (405, "POST"), "not as MLflow answers it"
    assert not [name for name in before.headers if name.startswith("access-control")], "the browser would go on"
    assert not [worker for worker in rig.workers if "7" in worker.bodies()]


def test_programs_notice_nothing(rig: GatewayRig) -> None:
    reply = ask(rig, post(b'"x"'))
    assert reply.status == 200
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_a_page_that_is_listed_asks_first_and_reads_then(rig: GatewayRig) -> None:
    first = ask(rig, get("/invocations", APP, "Access-Control-Request-Method: POST", method="OPTIONS"))
    assert first.status == 204
    assert "authorization" in first.headers["access-control-allow-headers"]
    assert "POST" in first.headers["access-control-allow-methods"]
    for data, status in ((post(b"1", APP), 200), (get("/nowhere", APP), 404), (get("/version", APP), 200)):
        reply = ask(rig, data)
        assert reply.status == status
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        assert reply.headers["vary"] == "origin"


def test_a_page_that_is_listed_still_needs_a_key() -> None:
    pages = Pages(origins=("https://app.example",))
    with GatewayRig(("topic",), pages=pages, access=Access(keys=(KEY,))) as rig:
        rig.serve(rig.worker("w1"))
        assert ask(rig, get("/invocations", APP, method="OPTIONS")).status == 204
        refused = ask(rig, post(b"1", APP))
        assert refused.status == 401
        assert refused.headers["access-control-allow-origin"] == "https://app.example"
        assert ask(rig, post(b"1", APP, f"Authorization: Bearer {TOKEN}")).status == 200
