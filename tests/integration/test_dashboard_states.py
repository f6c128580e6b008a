"""The dashboard's pages of a hundred models in every state, with no process behind them, in a real browser."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from playwright.sync_api import expect

from tests.dashboard_rig.browser import ACCESSIBILITY, CONTRAST, LONG_NAMES, Open, live
from tests.dashboard_rig.stage import TRACEBACK, Stage, every_state, many, served
from tests.integration.serving import PATIENCE_S

UPDATED = """() => new Promise((done) =>
  document.getElementById("live").addEventListener("updated", () => done(), { once: true }))"""

pytestmark = pytest.mark.needs("chromium")


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
