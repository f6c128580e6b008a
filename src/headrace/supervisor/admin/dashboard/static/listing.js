// Search, filters, sorting and groups: each is an address that the server answers. The page stays, and asks for that.
import { listen } from "./live.js";

const TYPED_MS = 150;
let typed = 0;

function show(href, { push = true } = {}) {
  const address = new URL(href, location.href);
  if (push && address.href !== location.href) history.pushState(null, "", address);
  listen(`/events${address.search}`);
}

function search(input) {
  const address = new URL(location.href);
  address.searchParams.delete("q");
  if (input.value.trim()) address.searchParams.set("q", input.value.trim());
  history.replaceState(null, "", address);
  show(address, { push: false });
}

function found() {
  return document.getElementById("search");
}

export function startListing(live) {
  live.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-view]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if ("clears" in link.dataset) found().value = "";
    show(link.href);
  });
  live.addEventListener("change", (event) => {
    if (event.target.dataset.choose) show(event.target.selectedOptions[0].dataset.href);
  });
  live.addEventListener("input", (event) => {
    if (event.target.id !== "search") return;
    clearTimeout(typed);
    typed = setTimeout(search, TYPED_MS, event.target);
  });
  live.addEventListener("submit", (event) => {
    if (event.target.role !== "search" && !event.target.matches(".search")) return;
    event.preventDefault();
    clearTimeout(typed);
    search(found());
  });
  addEventListener("popstate", () => {
    const input = found();
    if (input) input.value = new URL(location.href).searchParams.get("q") || "";
    show(location.href, { push: false });
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.closest("input, textarea, select") || !found()) return;
    event.preventDefault();
    found().focus();
  });
}
