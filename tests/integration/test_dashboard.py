"""The dashboard in a real browser: Debian's chromium, driven by playwright, on a headrace with real models."""

from __future__ import annotations

import http.client
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.dashboard_rig.browser import ACCESSIBILITY, CONTRAST, LONG_NAMES, Open, live
from tests.integration.moving import Registry
from tests.integration.serving import PATIENCE_S, Serving, ask, serving, until
from tests.registries import place

TEXT = {"dataframe_records": [{"text": "a text"}]}
MARKUP = '<img src=x onerror="document.title=1">'

pytestmark = pytest.mark.needs("chromium")


@pytest.fixture(scope="module")
def one(registry: str, moves: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """`shifty`, whose version 2 has taken over from version 1, and `broken`, which cannot load."""
    document = {
        "registry": {"tracking_uri": registry, "poll_s": 0.5},
        "admin": {"port": 0},
        "models": {
            "shifty": {"uri": "models:/shifty@dashboard", "port": 0, "environment": "local", "cache": {}},
            "broken": {"uri": "models:/broken@production", "port": 0},
        },
    }
    moves.point("shifty", "dashboard", "1")
    with serving(tmp_path_factory.mktemp("dashboard"), document) as started:
        started.event("serving", version="shifty/1")
        moves.point("shifty", "dashboard", "2")
        started.event("serving", version="shifty/2")
        until(lambda: started.status("broken")["state"] == "FAILED", "the failure")
        yield started


def test_all_models_with_numbers_that_move(one: Serving, open_page: Open) -> None:
    page = open_page(one.admin)
    live(page)
    shifty, broken = page.locator("tbody[data-key=shifty]"), page.locator("tbody[data-key=broken]")
    expect(shifty).to_contain_text("serving")
    expect(shifty).to_contain_text("shifty/2 @dashboard")
    expect(broken).to_contain_text("failed")
    expect(broken.locator(".note")).to_contain_text("broken/1 did not come up")
    expect(broken.locator(".note")).to_contain_text(one.status("broken")["problem"].removeprefix("broken/1: ")[:100])
    expect(page.locator("#changes + .scroll tbody tr")).to_have_count(3)
    rate = shifty.locator("[data-label='Requests/s'] span")
    expect(rate).to_have_text("0")
    for _ in range(40):
        assert ask(f"{one.url('shifty')}/invocations", TEXT).status == 200
    expect(rate).not_to_have_text("0")
    expect(shifty.locator("[data-label=p99]")).to_contain_text("ms")
    expect(shifty.locator("[data-label=Errors]")).to_have_text("0 %")
    expect(shifty.locator("[data-label='Cache hits']")).to_contain_text("%")
    expect(shifty.locator(".spark path")).to_have_attribute("d", re.compile("^M.*L"))
    shifty.get_by_role("link", name="shifty").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("shifty")
    live(page)
    expect(page.locator(".chart .line.first").first).to_have_attribute("d", re.compile("^M"))
    chart = page.locator(".chart").first
    chart.locator(".plot").hover()
    expect(chart.locator(".readout")).to_contain_text(":")
    expect(chart.locator(".key b").first).to_have_text(re.compile("[0-9]"))
    expect(page.locator("#environment")).to_be_visible()
    expect(page.get_by_role("region", name="Environment")).to_contain_text("mlflow")


def test_a_request_is_tried_by_the_keyboard_alone(one: Serving, open_page: Open) -> None:
    page = open_page(f"{one.admin}/models/shifty")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "try-body":
            break
    expect(page.locator("#try-body")).to_be_focused()
    expect(page.get_by_label("Request body")).to_have_value(re.compile("a text"))
    page.keyboard.press("Control+Enter")
    expect(page.locator("#try-status")).to_contain_text("200 in")
    expect(page.locator("#try-status")).to_contain_text("by shifty/2")
    expect(page.locator("#try-answer")).to_contain_text('"predictions"')
    page.get_by_label("Request body").fill("{nonsense")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#try-status")).to_contain_text("400 in")
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_label("Request body")).to_have_value(re.compile("a text"))


def test_what_is_typed_stays_while_the_page_is_live(one: Serving, open_page: Open) -> None:
    page = open_page(f"{one.admin}/models/shifty")
    live(page)
    page.get_by_label("Request body").fill("half a requ")
    page.evaluate("document.querySelector('button[data-order=rollback]').focus()")
    before = page.locator(".facts, .about").first.inner_text()
    for _ in range(3):
        ask(f"{one.url('shifty')}/invocations", TEXT)
    expect(page.locator(".about")).not_to_have_text(before)
    expect(page.locator("button[data-order=rollback]")).to_be_focused()
    expect(page.get_by_label("Request body")).to_have_value("half a requ")


MOVED = """async ([was, becomes]) => {
  const { update } = await import("/static/update.js");
  const part = document.createElement("div");
  document.body.append(part);
  part.innerHTML = was;
  part.querySelector("button").focus();
  const button = document.activeElement;
  update(part, new DOMParser().parseFromString(becomes, "text/html").body);
  return [part.innerHTML, document.activeElement === button];
}"""
LIST = '<section data-key="list"><p>Two</p> <button>Try</button></section>'


BEFORE = ('<section data-key="new"><p>One</p></section> ', "<p>One</p>", "Text <b>One</b> ")
BEHIND = ("", "<p>Three</p>", '<section data-key="other"></section>')
OTHERS = ("", '<section data-key="list">of the same key</section>')


def test_the_focus_stays_where_parts_come_and_go(one: Serving, open_page: Open) -> None:
    page = open_page(f"{one.admin}/")
    for before, behind, others in itertools.product(BEFORE, BEHIND, OTHERS):
        shapes = [LIST + others + behind, before + LIST + others + behind, behind + before + LIST + others]
        for was, becomes in itertools.product(shapes, shapes):
            assert page.evaluate(MOVED, [was, becomes]) == [becomes, True], was


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/models/shifty", "/models/broken"])
def test_readable_by_everyone_and_on_a_phone(one: Serving, open_page: Open, path: str, scheme: str) -> None:
    page = open_page(f"{one.admin}{path}", color_scheme=scheme)
    live(page)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(17, 20, 23)" if scheme == "dark" else "rgb(245, 246, 247)"
    )
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(ACCESSIBILITY) == []
    assert page.evaluate(LONG_NAMES) <= 1280
    page.set_viewport_size({"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.evaluate(LONG_NAMES) <= 320


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ('{"predictions": [1.0, 12345678901234567890, NaN]}', ["1.0", "12345678901234567890", "NaN"]),
        ('{"a":{},"b":[],"c":"x: [1,\\"2\\"]"}', ['"a": {}', '"b": []', '"c": "x: [1,\\"2\\"]"']),
        ("[[1,2],[3]]", ["  [\n    1,\n    2\n  ]"]),
        ("Request processing time exceeded limit", ["Request processing time exceeded limit"]),
        ("{is not JSON: at all}", ["{is not JSON: at all}"]),
    ],
)
def test_an_answer_is_laid_out_and_not_changed(one: Serving, open_page: Open, said: str, shown: list[str]) -> None:
    page = open_page(f"{one.admin}/models/shifty")
    made = page.evaluate("async text => (await import('/static/pretty.js')).pretty(text, 'application/json')", said)
    assert all(part in made for part in shown), made
    assert "".join(made.split()) == "".join(said.split())


def test_rolls_back_after_asking(one: Serving, open_page: Open) -> None:
    page = open_page(f"{one.admin}/models/shifty")
    live(page)
    button = page.get_by_role("button", name="Roll back to shifty/1")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Roll back shifty?")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("from shifty/2 to shifty/1")
    expect(page.get_by_role("button", name="Keep serving")).to_be_focused()
    assert page.evaluate(ACCESSIBILITY) == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    assert one.status("shifty")["current"]["label"] == "shifty/2"
    button.click()
    dialog.get_by_label("Reason").fill(f"a test {MARKUP}")
    page.get_by_role("button", name="Roll back", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(page.locator(".about")).to_contain_text("shifty/1")
    expect(page.locator("#live .notice")).to_contain_text("held until the registry points at another version")
    expect(page.locator("#history + .scroll")).to_contain_text(f"a test {MARKUP}")
    expect(page).to_have_title("shifty · headrace")
    assert one.status("shifty")["held"] is True
    # A page that was open in the meantime asks for what is not so any more.
    late = ask_as(one.admin, "POST", "/api/models/shifty/rollback?from=shifty/2")
    assert late.status == 409


def test_an_update_that_failed_is_seen_although_the_model_serves(
    one: Serving, moves: Registry, open_page: Open
) -> None:
    page = open_page(one.admin)
    moves.point("shifty", "dashboard", "5")
    row = page.locator("tbody[data-key=shifty]")
    expect(row.locator(".pill")).to_have_text("update failed")
    expect(row.locator(".note .busy")).to_contain_text("signature")
    expect(page.locator(".facts li").first).to_have_text("1 of 2 models ready, not broken")
    moves.point("shifty", "dashboard", "1")
    expect(row.locator(".pill")).to_have_text("serving")


def test_every_order_is_given_in_its_dialog(one: Serving, open_page: Open) -> None:
    page = open_page(f"{one.admin}/models/shifty")
    live(page)
    told = page.locator("#order-answer")
    serves = one.status("shifty")["current"]["label"]
    other = "2" if serves == "shifty/1" else "1"

    def opened(button: str, title: str) -> Locator:
        page.get_by_role("button", name=f"{button}…").click()
        dialog = page.get_by_role("dialog", name=title)
        expect(dialog).to_be_visible()
        assert page.evaluate(ACCESSIBILITY) == []
        assert page.evaluate(CONTRAST) == []
        return dialog

    def ordered(dialog: Locator, button: str, says: str) -> None:
        dialog.get_by_role("button", name=button, exact=True).click()
        expect(dialog).to_be_hidden()
        expect(told).to_contain_text(says)

    page.get_by_role("button", name="Refresh").click()
    expect(told).to_have_text("The registry is being asked.")

    dialog = opened("Pause", "Pause shifty?")
    expect(dialog).to_contain_text(f"{serves} goes on serving")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="Pause…")).to_be_focused()
    assert not one.status("shifty")["paused"]
    dialog = opened("Pause", "Pause shifty?")
    dialog.get_by_label("Reason").fill("Friday")
    ordered(dialog, "Pause", "paused")
    expect(page.locator("#history + .scroll")).to_contain_text("Friday")
    ordered(opened("Resume", "Resume shifty?"), "Resume", "follow")

    dialog = opened("Scale", "Scale shifty?")
    expect(dialog.get_by_label("Replicas")).to_have_value("1")
    dialog.get_by_label("Replicas").fill("0")
    dialog.get_by_role("button", name="Scale", exact=True).click()
    expect(dialog).to_be_visible()  # the browser says what is wrong
    dialog.get_by_label("Replicas").fill("2")
    ordered(dialog, "Scale", "2")
    expect(page.locator(".about")).to_contain_text("2/2 replicas")

    dialog = opened("Promote", "Promote a version of shifty?")
    expect(dialog).to_contain_text("The alias dashboard is moved")
    dialog.get_by_label("Number of the version").fill("4711")
    dialog.get_by_role("button", name="Promote", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("4711")
    dialog.get_by_label("Number of the version").fill(other)
    ordered(dialog, "Promote", other)
    expect(page.locator(".about")).to_contain_text(f"shifty/{other}")


def test_what_is_not_there_says_so(one: Serving, open_page: Open) -> None:
    answer = ask(f"{one.admin}/models/nothing")
    assert answer.status == 404
    assert b"There are:" in answer.body
    assert ask(f"{one.admin}/models/nothing/events").status == 404
    assert ask(f"{one.admin}/api/models/nothing/example").status == 404
    broken = open_page(f"{one.admin}/models/broken")
    live(broken)
    broken.get_by_role("button", name="Send").click()
    expect(broken.locator("#try-status")).to_contain_text("503 in")


def ask_as(admin: str, method: str, path: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
    parts = urlsplit(admin)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


def test_other_sites_are_kept_out(one: Serving) -> None:
    admin, rollback = one.admin, "/api/models/shifty/rollback"
    assert ask_as(admin, "POST", rollback, Origin="http://evil.example").status == 403
    assert ask_as(admin, "POST", rollback, Sec_Fetch_Site="cross-site").status == 403
    assert ask_as(admin, "POST", rollback, b"x=1", Content_Type="application/x-www-form-urlencoded").status == 403
    for path in ("/", "/api/models", "/metrics"):
        assert ask_as(admin, "GET", path, Host="evil.example").status == 421
    assert ask_as(admin, "GET", "/livez", Host="anything.example").status == 200
    page = ask_as(admin, "GET", "/")
    assert "script-src 'self'" in (page.getheader("Content-Security-Policy") or "")
    assert page.getheader("X-Content-Type-Options") == "nosniff"


def test_a_tried_request_is_bounded(one: Serving) -> None:
    trial = "/api/models/shifty/try"
    assert ask_as(one.admin, "POST", trial, b"x" * 1_100_000, Content_Type="application/json").status == 413
    assert ask_as(one.admin, "POST", trial, b"x", Content_Type="application/octet-stream").status == 415
    assert ask_as(one.admin, "POST", "/api/models/none/try", b"{}", Content_Type="application/json").status == 404


@pytest.mark.slow
def test_a_server_that_goes_is_told_and_one_that_comes_back_is_found(
    registry: str, browser: Browser, tmp_path: Path
) -> None:
    document: dict[str, Any] = {
        "admin": {"port": 0},
        "models": {"mood": {"uri": place(registry, "mood/1"), "port": 0}},
    }
    with serving(tmp_path, document) as first:
        admin = first.admin
        page = browser.new_page()
        page.goto(admin)
        live(page)
        assert first.stop() == 0
        assert first.other_lines == []
    expect(page.get_by_role("alert")).to_contain_text("headrace does not answer since")
    document["admin"]["port"] = urlsplit(admin).port
    with serving(tmp_path, document) as second:
        assert second.admin == admin
        live(page)
        expect(page.get_by_role("alert")).to_be_hidden()
        page.close()
