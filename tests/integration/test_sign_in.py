"""Signing in to the dashboard: by a key and at an issuer, in a real browser, and what browsers and sites may not do."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from headrace.core.security import keys
from headrace.core.security.roles import Grant, Role
from tests.dashboard_rig.browser import ACCESSIBILITY, CONTRAST, Open, browser, live, open_page
from tests.integration.serving import PATIENCE_S, Serving, serving, until
from tests.integration.test_serve import config
from tests.issuer import Issuer, issuer
from tests.registries import place

__all__ = ["browser", "open_page"]
FORM = "application/x-www-form-urlencoded"
PEOPLE: dict[str, Role] = {"reader": "read", "operator": "operate", "asker": "predict", "brief": "read"}
_made = [keys.make(bytes([at]) * 56, Grant(name=name, roles=(role,))) for at, (name, role) in enumerate(PEOPLE.items())]
KEYS = {kept.grant.name: token for kept, token in _made}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sign-in")


@pytest.fixture(scope="module")
def corp() -> Iterator[Issuer]:
    with issuer() as one:
        yield one


@pytest.fixture(scope="module")
def one(registry: str, directory: Path, corp: Issuer) -> Iterator[Serving]:
    (directory / "keys.jsonl").write_text(keys.write([kept for kept, _ in _made]))
    document = config(registry, mood={"uri": place(registry, "mood/1")})
    document["auth"] = {
        "keys": "keys.jsonl",
        "issuers": {
            "corp": {
                "issuer": corp.url, "audiences": ["headrace"], "grants_claim": "groups",
                "grants": {"ops": {"roles": ["operate"]}},
                "client": {"id": "dashboard", "secret": "a secret"},
            }
        },
    }  # fmt: skip
    document["audit"] = "audit.jsonl"
    with serving(directory, document) as started:
        started.url("mood")
        started.event("keys of issuer changed")
        yield started


class Got(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    text: str

    def cookie(self, name: str) -> Any:
        """A cookie that is set, with its attributes."""
        jar = SimpleCookie()
        for line in self.headers.get_all("Set-Cookie", []):
            jar.load(line)
        return jar[name]


addresses = (f"127.0.0.{number}" for number in range(2, 250))


def send(
    one: Serving, path: str, method: str = "GET", body: str | None = None, *, whence: str = "", **headers: str
) -> Got:
    """A request, from an address of its own unless one is given: who fails too often has to wait."""
    source = (whence or next(addresses), 0)
    connection = http.client.HTTPConnection(urlsplit(one.admin).netloc, timeout=PATIENCE_S, source_address=source)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Got(answer.status, answer.headers, answer.read().decode())
    finally:
        connection.close()


def form(one: Serving) -> tuple[str, str]:
    """The cookie of the sign-in page, and the token that its form has."""
    page = send(one, "/sign-in")
    assert page.status == 200
    return f"headrace-form={page.cookie('headrace-form').value}", page.text.split('name="csrf" value="')[1].split('"')[
        0
    ]


def sign_in(one: Serving, key: str, *, next_: str = "/", whence: str = "") -> Got:
    cookie, csrf = form(one)
    body = urlencode({"key": key, "csrf": csrf, "next": next_})
    return send(one, "/sign-in", "POST", body, whence=whence, Content_Type=FORM, Cookie=cookie)


def session_of(got: Got) -> str:
    assert got.status == 200, got.text
    return f"headrace-session={got.cookie('headrace-session').value}"


def csrf_of(one: Serving, session: str) -> str:
    return send(one, "/", Cookie=session).text.split('name="csrf" content="')[1].split('"')[0]


def audited(directory: Path, what: str) -> list[dict[str, Any]]:
    lines = (directory / "audit.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["what"] == what]


def test_a_browser_is_sent_to_the_page_and_everybody_else_is_asked_for_a_key(one: Serving) -> None:
    sent = send(one, "/models/mood?x=1", Accept="text/html,*/*;q=0.8")
    assert (sent.status, sent.headers["Location"]) == (303, "/sign-in?next=%2Fmodels%2Fmood%3Fx%3D1")
    assert send(one, "/").headers["WWW-Authenticate"].startswith("Basic ")
    page = send(one, "/sign-in", Sec_Fetch_Mode="navigate")
    assert "mood" not in page.text
    # A script of a page that is open is not to have the browser ask for a password in its own way.
    asked = send(one, "/events", Sec_Fetch_Mode="cors")
    assert (asked.status, asked.headers["WWW-Authenticate"].split()[0]) == (401, "Bearer")
    for key in ("reader", "operator"):
        assert send(one, "/api/models", Authorization=f"Bearer {KEYS[key]}").status == 200


def test_a_key_signs_in_for_what_it_may_and_a_cookie_alone_changes_nothing(one: Serving, directory: Path) -> None:
    got = sign_in(one, KEYS["operator"], next_="//evil.example")
    assert "evil" not in got.text
    cookie = got.cookie("headrace-session")
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
    session = session_of(got)
    assert send(one, "/api/models", Cookie=session).status == 200
    order = "/api/models/mood/refresh"
    csrf = csrf_of(one, session)
    others = csrf_of(one, session_of(sign_in(one, KEYS["operator"])))
    for wrong in ({}, {"X_CSRF_Token": ""}, {"X_CSRF_Token": csrf[:-1]}, {"X_CSRF_Token": others}):
        refused = send(one, order, "POST", Cookie=session, **wrong)
        assert (refused.status, "CSRF" in refused.text) == (403, True)
    assert send(one, order, "POST", Cookie=session, X_CSRF_Token=csrf).status == 202
    reader = session_of(sign_in(one, KEYS["reader"]))
    assert send(one, order, "POST", Cookie=reader, X_CSRF_Token=csrf_of(one, reader)).status == 403
    # A key that is shown counts, whatever else there is; one that is wrong is not made good by a cookie.
    assert send(one, "/api/models", Cookie=session, Authorization="Bearer hr_wrong").status == 401
    until(lambda: {"operator", "reader"} <= {one["who"] for one in audited(directory, "signed in")}, "the audit")


def test_signing_out_ends_a_session_and_needs_the_token(one: Serving, directory: Path) -> None:
    session = session_of(sign_in(one, KEYS["reader"]))
    csrf = csrf_of(one, session)
    assert send(one, "/sign-out", "POST", "csrf=x", Cookie=session, Content_Type=FORM).status == 403
    assert send(one, "/api/models", Cookie=session).status == 200
    out = send(one, "/sign-out", "POST", urlencode({"csrf": csrf}), Cookie=session, Content_Type=FORM)
    assert (out.status, out.headers["Location"]) == (303, "/sign-in")
    assert send(one, "/api/models", Cookie=session).status == 401
    until(lambda: [entry["who"] for entry in audited(directory, "signed out")] == ["reader"], "it to be written down")


def test_another_site_can_neither_sign_in_nor_out(one: Serving) -> None:
    cookie, csrf = form(one)
    body = urlencode({"key": KEYS["reader"], "csrf": csrf})
    for headers in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "null"}):
        for path in ("/sign-in", "/sign-out"):
            assert send(one, path, "POST", body, Content_Type=FORM, Cookie=cookie, **headers).status == 403
    assert send(one, "/sign-in", "POST", body, Content_Type=FORM).status == 403  # without the page's own cookie
    assert send(one, "/sign-in", "POST", body, Content_Type="text/plain", Cookie=cookie).status == 403
    assert send(one, "/sign-in", "POST", "key=" + "x" * 100_000, Content_Type=FORM, Cookie=cookie).status == 403
    # What is no form of ours stays as it is.
    assert send(one, "/api/models/mood/refresh", "POST", body, Content_Type=FORM).status == 403


def test_a_session_ends_with_its_key_and_so_does_what_it_watches(one: Serving, directory: Path) -> None:
    session = session_of(sign_in(one, KEYS["brief"]))
    watching = http.client.HTTPConnection(urlsplit(one.admin).netloc, timeout=PATIENCE_S)
    watching.request("GET", "/events", headers={"Cookie": session})
    events = watching.getresponse()
    assert events.status == 200
    file = directory / "keys.jsonl"
    file.write_text(keys.write([kept for kept, _ in _made if kept.grant.name != "brief"]))
    until(lambda: send(one, "/api/models", Cookie=session).status == 401, "the key to be taken back")
    events.read()  # it ends
    watching.close()


def come_back(one: Serving, corp: Issuer, **changed: str) -> Got:
    """Sign in at the issuer without a browser; `changed` is what comes back otherwise."""
    begun = send(one, "/sign-in/with/corp?next=/models/mood")
    assert begun.status == 303
    cookie = begun.cookie("headrace-flow")
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "lax", "/sign-in/return")
    address = urlsplit(begun.headers["Location"])
    assert f"{address.scheme}://{address.netloc}" == corp.url
    connection = http.client.HTTPConnection(address.netloc, timeout=PATIENCE_S)
    connection.request("GET", f"{address.path}?{address.query}")
    back = urlsplit(str(connection.getresponse().headers["Location"]))
    connection.close()
    told = {name: values[0] for name, values in parse_qs(back.query).items()}
    flow = changed.pop("flow", cookie.value)
    asked = f"{back.path}?{urlencode({**told, **changed})}"
    return send(one, asked, Cookie=f"headrace-flow={flow}", Sec_Fetch_Site="cross-site")


def test_who_comes_from_the_issuer_is_in_and_nobody_who_only_says_so(one: Serving, corp: Issuer) -> None:
    corp.expect(groups=["ops"])
    session = session_of(come_back(one, corp))
    assert send(one, "/api/models", Cookie=session).status == 200
    assert "corp:alice" in send(one, "/", Cookie=session).text
    for changed in ({"state": "x"}, {"code": "x"}, {"flow": "x"}, {"iss": "https://evil.example"}):
        refused = come_back(one, corp, **changed)
        assert (refused.status, "headrace-session" in str(refused.headers)) == (401, False)
    wrong: list[dict[str, Any]] = [
        {"aud": "headrace"}, {"nonce": "x"}, {"nonce": None}, {"exp": 1}, {"azp": "x"}, {"iss": "https://x"},
        {"sub": None},
    ]  # fmt: skip
    for claims in wrong:
        corp.expect(groups=["ops"], **claims)
        assert come_back(one, corp).status == 401
    corp.expect(groups=["others"])
    assert come_back(one, corp).status == 403
    corp.expect(groups=["ops"])
    corp.rotate()
    assert come_back(one, corp).status == 200  # a key that is new is asked for at once
    assert send(one, "/sign-in/with/nobody").status == 404


def test_who_fails_too_often_has_to_wait_and_it_is_written_down(one: Serving, directory: Path) -> None:
    address = "127.0.1.1"
    for wrong in ("hr_wrong", "", *(f"hr_{number}" for number in range(8))):
        assert sign_in(one, wrong, whence=address).status == 401
    waits = sign_in(one, KEYS["reader"], whence=address)
    assert (waits.status, waits.headers["Retry-After"].isdigit()) == (429, True)
    assert "hr_wrong" not in waits.text
    assert sign_in(one, KEYS["reader"]).status == 200
    assert sign_in(one, KEYS["asker"]).status == 403
    until(
        lambda: (address, "/sign-in") in {(e["whence"], e["path"]) for e in audited(directory, "refused")}, "the audit"
    )
    everything = (directory / "audit.jsonl").read_text() + str(one.events)
    assert not [key for key in KEYS.values() if key in everything]


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_readable_and_signs_in_by_the_keyboard(one: Serving, open_page: Open, scheme: str) -> None:
    page = open_page(f"{one.admin}/models/mood", color_scheme=scheme, viewport={"width": 390, "height": 800})
    expect(page.get_by_label("API key")).to_be_focused()
    assert page.evaluate(ACCESSIBILITY) == []
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.keyboard.type(KEYS["operator"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/models/mood")
    live(page)
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("[data-order=refresh]").click()
    expect(page.locator("#order-answer")).to_have_text("The registry is being asked.")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#try-status")).to_contain_text("200")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.needs("chromium")
def test_a_browser_signs_in_at_the_issuer_and_is_sent_back(one: Serving, corp: Issuer, browser: Browser) -> None:
    corp.expect(groups=["ops"])
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_S * 1000)
    page.goto(f"{one.admin}/models/mood")
    page.get_by_label("API key").fill("hr_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("is not known here")
    page.get_by_role("link", name="Sign in with corp").click()
    page.wait_for_url("**/models/mood")
    live(page)
    expect(page.get_by_text("corp:alice")).to_be_visible()
    # Another window signs out: this one goes to the sign-in page by itself.
    page.evaluate("""fetch("/sign-out", {method: "POST", redirect: "manual",
        body: new URLSearchParams({csrf: document.querySelector("meta[name=csrf]").content})})""")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.close()
