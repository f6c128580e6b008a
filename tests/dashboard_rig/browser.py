"""Pages of the dashboard in a real browser, Debian's chromium driven by playwright, and what each of them must be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.integration.serving import PATIENCE_S

NO_VERSION = "/promote?version=4711"  # refused on purpose, which a browser's console calls an error

# A little of what axe does: every control has a name, ids are unique, landmarks and headings are in order.
ACCESSIBILITY = """() => {
  const found = [], all = (q) => [...document.querySelectorAll(q)];
  const name = (e) => (e.getAttribute("aria-label")
    || (e.getAttribute("aria-labelledby") || "").split(" ").map((i) => document.getElementById(i)?.textContent).join("")
    || [...(e.labels || [])].map((l) => l.textContent).join("") || e.textContent || "").trim();
  for (const e of all("a, button, input:not([type=hidden]), select, textarea, dialog, [tabindex='0'], [role=img]"))
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
