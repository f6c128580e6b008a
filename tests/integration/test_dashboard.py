"""The dashboard in a real browser: Debian's chromium, driven by playwright, on a headrace with real models."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

from tests.dashboard_rig.stage import TRACEBACK, Stage, every_state, many, served
from tests.integration.moving import Registry
from tests.integration.serving import PATIENCE_S, Serving, ask, serving, until

TEXT = {"dataframe_records": [{"text": "a text"}]}
NO_VERSION = "/promote?version=4711"  # refused on purpose, which a browser's console calls an error
MARKUP = '<img src=x onerror="document.title=1">'

# A little of what axe does: every control has a name, ids are unique, landmarks and headings are in order.
ACCESSIBILITY = """() => {
  const found = [], all = (q) => [...document.querySelectorAll(q)];
  const name = (e) => (e.getAttribute("aria-label")
    || (e.getAttribute("aria-labelledby") || "").split(" ").map((i) => document.getElementById(i)?.textContent).join("")
    || [...(e.labels || [])].map((l) => l.textContent).join("") || e.textContent || "").trim();
  for (const e of all("a, button, input, select, textarea, dialog, [tabindex='0'], [role=img]"))
    if (!name(e)) found.push(`no name: ${e.outerHTML.slice(0, 80)}`);
  for (const e of all("img:not([alt])")) found.push(`no alt: ${e.src}`);
  const ids = all("[id]").map((e) => e.id);
  found.push(...ids.filter((id, i) => ids.indexOf(id) !== i).map((id) => `twice: ${id}`));
  for (const one of ["main", "h1", "header"]) if (all(one).length !== 1) found.push(`${all(one).length} times ${one}`);
  if (!document.documentElement.lang) found.push("no language");
  for (const e of all("th:not([scope])")) found.push(`no scope: ${e.textContent}`);
  for (const e of all("[tabindex]")) if (e.tabIndex > 0) found.push("a tab order of its own");
  return found;
}"""

# WCAG 2's contrast of every text with what is behind it.
CONTRAST = """() => {
  const rgba = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
  const light = (c) => [c.r, c.g, c.b].map((v) => v / 255)
    .map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = rgba(getComputedStyle(e).backgroundColor); if (c.a === 1) return c; } return rgba("rgb(255,255,255)"); };
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement, style = getComputedStyle(e);
    if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.closest("noscript")) continue;
    const front = rgba(e.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(front), light(behind(e))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const ratio = (a + .05) / (b + .05);
    if (ratio < (large ? 3 : 4.5)) found.add(`${ratio.toFixed(2)}: ${walker.currentNode.data.trim().slice(0, 40)}`);
  }
  return [...found];
}"""

# How wide a page is when every name is longer than the screen.
LONG_NAMES = """() => {
  for (const e of document.querySelectorAll("h1, .named, .named a, .key")) e.append("a-model-" + "x".repeat(250));
  return document.documentElement.scrollWidth;
}"""

UPDATED = """() => new Promise((done) =>
  document.getElementById("live").addEventListener("updated", () => done(), { once: true }))"""

pytestmark = pytest.mark.needs("chromium")


@pytest.fixture(scope="module")
def one(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """`shifty`, whose version 2 has taken over from version 1, and `broken`, which cannot load."""
    document = {
        "registry": {"tracking_uri": registry, "poll_s": 0.5},
        "admin": {"port": 0},
        "models": {
            "shifty": {"uri": "models:/shifty@dashboard", "port": 0, "environment": "local", "cache": {}},
            "broken": {"uri": "models:/broken@production", "port": 0},
        },
    }
    with Registry(registry) as moves:
        moves.point("shifty", "dashboard", "1")
        with serving(tmp_path_factory.mktemp("dashboard"), document) as started:
            started.event("serving", version="shifty/1")
            moves.point("shifty", "dashboard", "2")
            started.event("serving", version="shifty/2")
            until(lambda: started.status("broken")["state"] == "FAILED", "the failure")
            yield started


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The admin port of a hundred models in every state, with no process behind them."""
    address: Future[str] = Future()
    over = threading.Event()

    async def run() -> None:
        stage = Stage(tmp_path_factory.mktemp("staged"))
        await every_state(stage)
        await many(stage, 91)
        async with served(stage) as admin:
            address.set_result(admin)
            await asyncio.to_thread(over.wait)

    def serve() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            address.set_exception(error)
            raise

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield address.result(PATIENCE_S)
    finally:
        over.set()
        thread.join(PATIENCE_S)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=PATIENCE_S * 1000)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield started
        started.close()


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens pages; afterwards none may have logged an error or asked for anything from elsewhere."""
    pages: list[Page] = []
    complaints: list[str] = []

    def heard(said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"} and NO_VERSION not in said.location["url"]:
            complaints.append(said.text)

    def opened(url: str, **options: Any) -> Page:
        page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        own = urlsplit(url).netloc
        page.on("request", lambda asked: complaints.append(asked.url) if urlsplit(asked.url).netloc != own else None)
        page.goto(url)
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert complaints == []


def live(page: Page) -> None:
    expect(page.locator("#link")).to_have_text("live")


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


def test_a_hundred_models_are_searched_filtered_sorted_and_grouped(staged: str, open_page: Open) -> None:
    page = open_page(staged)
    live(page)
    rows = page.locator(".models tbody:not(.group)")
    expect(rows).to_have_count(60)
    expect(rows.first).to_contain_text("failed")
    page.get_by_role("link", name="Show 40 more").click()
    expect(rows).to_have_count(100)
    page.keyboard.press("/")
    search = page.get_by_label("Search models")
    expect(search).to_be_focused()
    page.keyboard.type("nlp failed", delay=20)
    expect(rows).to_have_count(4)
    expect(page).to_have_url(re.compile("q=nlp"))
    expect(search).to_be_focused()
    expect(search).to_have_value("nlp failed")
    search.fill("nobody")
    page.get_by_role("link", name="Show all 100").click()
    expect(rows).to_have_count(100)
    expect(search).to_have_value("")
    page.get_by_role("navigation", name="By state").get_by_role("link", name="failing").click()
    expect(rows).to_have_count(1)
    expect(rows.first.get_by_role("link")).to_have_text("failing")
    page.go_back()
    expect(rows).to_have_count(100)
    page.get_by_role("columnheader", name="Requests/s").get_by_role("link").click()
    expect(page.get_by_role("columnheader", name="Requests/s")).to_have_attribute("aria-sort", "descending")
    shown = [float(text) for text in page.locator(".models .col-rate span").all_inner_texts()]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] > 0
    page.get_by_label("Group").select_option("name prefix")
    head = page.get_by_role("link", name="nlp", exact=True)
    expect(head).to_have_attribute("aria-expanded", "true")
    head.click()
    expect(head).to_have_attribute("aria-expanded", "false")
    expect(page.locator(".models [data-key^=nlp-]")).to_have_count(0)
    address = page.url
    live(page)
    again = open_page(address, java_script_enabled=False)
    expect(again.locator(".models [data-key^=nlp-]")).to_have_count(0)
    expect(again.locator("[aria-sort=descending]")).to_have_text("Requests/s")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_state_is_readable_and_fits_a_phone(staged: str, open_page: Open, scheme: str) -> None:
    page = open_page(staged, color_scheme=scheme)
    names = ("churn", "newcomer", "updating", "update-failed", "failed", "failing", "canary", "shadow")
    for path in ("/", "/?group=state&q=nlp", *(f"/models/{name}" for name in names)):
        page.set_viewport_size({"width": 1300, "height": 900})
        page.goto(f"{staged}{path}")
        live(page)
        assert page.evaluate(CONTRAST) == [], path
        assert page.evaluate(ACCESSIBILITY) == [], path
        for width in (1300, 800, 390):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
        assert page.evaluate(LONG_NAMES) <= 390, path


def test_on_a_phone_a_model_is_two_lines_and_all_of_a_table_is_seen(staged: str, open_page: Open) -> None:
    page = open_page(f"{staged}/?state=serving&q=nlp", viewport={"width": 390, "height": 800})
    live(page)
    heights = page.eval_on_selector_all(".models tbody", "all => all.map((one) => one.offsetHeight)")
    assert heights
    assert max(heights) < 100
    page.get_by_label("Sort").select_option("-p99")
    expect(page).to_have_url(re.compile("sort=-p99"))
    page.goto(f"{staged}/models/churn")
    live(page)
    for table in page.locator("table").all():
        assert table.evaluate("e => e.scrollWidth <= e.parentElement.clientWidth"), table.inner_text()[:50]


def test_what_went_wrong_is_told_with_what_to_do(staged: str, open_page: Open) -> None:
    page = open_page(f"{staged}/models/canary")
    notice = page.locator("#live .notice.bad")
    expect(notice).to_contain_text("Canary @next: canary/2 did not come up")
    expect(notice).to_contain_text("the main version has its share of the traffic")
    expect(notice).to_contain_text("headrace refresh canary")
    expect(page.locator(".side .pill")).to_have_text("failed")
    page.goto(f"{staged}/models/shadow")
    expect(page.locator(".side .pairs .alarm")).to_have_text(re.compile("error"))
    page.goto(f"{staged}/models/updating")
    expect(page.get_by_role("heading", name="Bringing up updating/2")).to_be_visible()
    expect(page.locator(".steps [aria-current=step]")).to_have_text("loading")
    page.goto(f"{staged}/models/failing")
    live(page)
    first = page.locator(".failures li").first
    first.locator("summary").click()
    expect(first.locator("pre")).to_have_text(TRACEBACK)
    page.evaluate(UPDATED)
    page.evaluate(UPDATED)
    expect(first.locator("pre")).to_be_visible()


def test_the_fields_and_the_json_of_a_request_say_the_same(staged: str, open_page: Open) -> None:
    page = open_page(f"{staged}/models/churn")
    body, text, age = page.locator("#try-body"), page.get_by_label("text string"), page.get_by_label("age long")
    expect(text).to_have_value("a text")
    page.get_by_label("Row", exact=True).select_option("2 of 2")
    expect(age).to_have_value("12345678901234567890")
    text.fill("it's mine")
    expect(body).to_have_value(re.compile('"text": "it\'s mine",\n      "age": 12345678901234567890'))
    expect(page.locator("#try-curl")).to_contain_text("it'\\''s mine")
    age.fill("many")
    expect(age).to_have_attribute("aria-invalid", "true")
    expect(body).to_have_value(re.compile("12345678901234567890"))
    age.fill("7")
    page.get_by_label("member").select_option("true")
    page.get_by_label("tags").fill('["a", "b"]')
    page.get_by_label("temperature").fill("1.0")
    page.get_by_role("button", name="Add a row").click()
    expect(page.get_by_label("Row", exact=True)).to_have_value("2")
    sent = page.evaluate("JSON.parse(document.getElementById('try-body').value)")
    row = {"text": "it's mine", "age": 7, "member": True, "tags": ["a", "b"]}
    assert sent["dataframe_records"][1:] == [row, row]
    assert sent["params"] == {"temperature": 1}
    assert '"temperature": 1.0' in body.input_value()
    body.fill('{"dataframe_split": {"columns": ["age", "text"], "data": [[1.50, "short"]]}}')
    expect(text).to_have_value("short")
    expect(age).to_have_value("1.50")
    text.fill("long")
    assert '[1.50, "long"]' in body.input_value()
    body.fill('{"half')
    expect(text).to_be_disabled()
    expect(page.locator("#try-apart")).to_contain_text("no JSON")
    page.get_by_role("button", name="Reset").click()
    expect(text).to_have_value("a text")
    page.get_by_label("income").fill("")
    assert "income" not in page.evaluate("JSON.parse(document.getElementById('try-body').value).dataframe_records[0]")


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


def test_an_update_that_failed_is_seen_although_the_model_serves(one: Serving, registry: str, open_page: Open) -> None:
    page = open_page(one.admin)
    with Registry(registry) as moves:
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


def test_a_server_that_goes_is_told_and_one_that_comes_back_is_found(
    registry: str, browser: Browser, tmp_path: Path
) -> None:
    document: dict[str, Any] = {
        "registry": {"tracking_uri": registry},
        "admin": {"port": 0},
        "models": {"mood": {"uri": "models:/mood@production", "port": 0}},
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
