// Keeps the page live. The server sends what has changed, by lines: new ones as text, others as [first, how many] of
// those that the page has.
import { leaveIfOver } from "./session.js";
import { update } from "./update.js";

const live = document.getElementById("live");
const link = document.getElementById("link");
const lost = document.getElementById("lost");
let heardMs = Date.now();
let source = null;
let lines = [];

export function listen(from = document.body.dataset.events) {
  if (!from) return;
  if (source) source.close();
  document.body.dataset.events = from;
  source = new EventSource(from);
  const own = source;
  source.addEventListener("hello", (event) => {
    if (event.data !== document.body.dataset.version) location.reload(); // a newer headrace has newer files
    lines = [];
    isBack();
  });
  source.addEventListener("live", (event) => {
    isBack();
    const parts = JSON.parse(event.data);
    lines = parts.flatMap((part) => (typeof part === "string" ? part.split("\n") : lines.slice(part[0], part[0] + part[1])));
    update(live, new DOMParser().parseFromString(lines.join("\n"), "text/html").body);
    live.dispatchEvent(new Event("updated"));
  });
  source.addEventListener("gone", (event) => {
    source.close();
    isAlone(`${event.data}. What you see is how it was at ${clock(heardMs)}.`);
  });
  source.onerror = () => {
    own.close();
    leaveIfOver();
    isAlone(`headrace does not answer since ${clock(Date.now())}; what you see is older. Trying again every 2 seconds.`);
    setTimeout(() => {
      if (source === own) listen();
    }, 2000);
  };
}

export function clock(ms) {
  return new Date(ms).toLocaleTimeString();
}

function tell(state, text) {
  if (link.dataset.state === state) return;
  link.dataset.state = state;
  document.getElementById("link-text").textContent = text;
}

function isAlone(message) {
  tell("lost", "connection lost");
  if (lost.hidden) {
    lost.textContent = message;
    lost.hidden = false;
  }
}

function isBack() {
  heardMs = Date.now();
  tell("live", "live");
  lost.hidden = true;
}
