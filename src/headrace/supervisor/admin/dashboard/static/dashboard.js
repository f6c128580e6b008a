// Keeps the page live: what the server renders anew comes as an event, and only what differs is put into the document,
// so that focus, selection and scrolling stay. Then the try box, the rollback's question, and values under the pointer.
"use strict";

// --- Live -----------------------------------------------------------------------------------------------

const live = document.getElementById("live");
const link = document.getElementById("link");
const lost = document.getElementById("lost");
let heardMs = Date.now();

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

function clock(ms) {
  return new Date(ms).toLocaleTimeString();
}

function listen() {
  const from = document.body.dataset.events;
  if (!from) return;
  const source = new EventSource(from);
  source.addEventListener("hello", (event) => {
    if (event.data !== document.body.dataset.version) location.reload(); // a newer headrace has newer files
    isBack();
  });
  source.addEventListener("live", (event) => {
    isBack();
    const made = new DOMParser().parseFromString(event.data, "text/html").body;
    update(live, made);
  });
  source.addEventListener("gone", (event) => {
    source.close();
    isAlone(`${event.data}. What you see is how it was at ${clock(heardMs)}.`);
  });
  source.onerror = () => {
    source.close();
    isAlone(`headrace does not answer since ${clock(Date.now())}; what you see is older. Trying again every 2 seconds.`);
    setTimeout(listen, 2000);
  };
}

// Make `to`'s children those of `from`. Elements are matched by their key, else by their place and kind. What has
// data-keep="all" is the script's own, data-keep="text" keeps its children.
function update(to, from) {
  const keyed = new Map();
  for (const child of to.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let place = to.firstChild;
  for (const wanted of [...from.childNodes]) {
    const key = wanted.dataset && wanted.dataset.key;
    let found = key ? keyed.get(key) : place;
    if (!key && found && found.dataset && found.dataset.key) found = null;
    if (!found || found.nodeName !== wanted.nodeName) {
      to.insertBefore(wanted, place);
      continue;
    }
    if (found === place) place = place.nextSibling;
    else to.insertBefore(found, place);
    updateOne(found, wanted);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function updateOne(found, wanted) {
  if (found.nodeType !== Node.ELEMENT_NODE) {
    if (found.nodeValue !== wanted.nodeValue) found.nodeValue = wanted.nodeValue;
    return;
  }
  if (found.dataset.keep === "all") return;
  for (const { name } of [...found.attributes]) if (!wanted.hasAttribute(name)) found.removeAttribute(name);
  for (const { name, value } of wanted.attributes) if (found.getAttribute(name) !== value) found.setAttribute(name, value);
  if (found.dataset.keep !== "text") update(found, wanted);
}

// --- Values under the pointer ---------------------------------------------------------------------------

function pointed(event) {
  const figure = event.target.closest && event.target.closest(".chart");
  for (const other of document.querySelectorAll(".chart")) if (other !== figure) clear(other);
  if (!figure) return;
  const box = figure.querySelector(".plot").getBoundingClientRect();
  const data = JSON.parse(figure.dataset.chart);
  const x = (event.clientX - box.left) / box.width;
  let best = -1;
  data.at.forEach((at, i) => {
    if (best < 0 || Math.abs(at - x) < Math.abs(data.at[best] - x)) best = i;
  });
  if (best < 0) return;
  const cursor = figure.querySelector(".cursor");
  cursor.setAttribute("x1", `${data.at[best] * 100}%`);
  cursor.setAttribute("x2", `${data.at[best] * 100}%`);
  cursor.setAttribute("visibility", "visible");
  figure.querySelector(".readout").textContent = clock(Date.now() - data.when[best] * 1000);
  figure.querySelectorAll(".key b").forEach((value, i) => {
    const found = data.series[i] && data.series[i][best];
    value.textContent = found === null ? "–" : found;
  });
}

function clear(figure) {
  for (const text of figure.querySelectorAll(".readout, .key b")) text.textContent = "";
  figure.querySelector(".cursor").setAttribute("visibility", "hidden");
}

document.addEventListener("pointermove", pointed);

// --- Try a request --------------------------------------------------------------------------------------

const form = document.getElementById("try-form");

function said(text, kind) {
  const status = document.getElementById("try-status");
  status.textContent = text;
  status.className = `hint ${kind}`;
}

// White space only: to parse an answer and write it anew would show 1.0 as 1, round long numbers and refuse NaN.
function pretty(text, type) {
  if (!(type || "").includes("json") || !/^\s*[[{]/.test(text)) return text;
  let depth = 0;
  let shown = "";
  let before = "";
  for (const [part] of text.matchAll(/"(?:[^"\\]|\\[^])*"?|[^\s"[\]{},:]+|[[\]{},:]/g)) {
    const opens = "[{".includes(part);
    const closes = "]}".includes(part);
    if (!opens && !closes && !",:".includes(part) && !"[{,:".includes(before)) return text; // not JSON after all
    if (closes) depth = Math.max(0, depth - 1);
    const apart = closes ? !"[{".includes(before) : "[{,".includes(before);
    if (apart && before) shown += `\n${"  ".repeat(depth)}`;
    shown += part === ":" ? ": " : part;
    if (opens) depth += 1;
    before = part;
  }
  return shown;
}

async function send(event) {
  event.preventDefault();
  const button = document.getElementById("try-send");
  if (button.disabled) return;
  const answer = document.getElementById("try-answer");
  button.disabled = true;
  said("waiting …", "");
  try {
    const response = await fetch(form.dataset.action, {
      method: "POST",
      headers: { "Content-Type": form.elements.type.value },
      body: form.elements.body.value,
    });
    const told = await response.json();
    if (!response.ok) {
      said(told.message, "bad");
      answer.textContent = "";
      return;
    }
    const by = told.headers["headrace-model"] ? ` by ${told.headers["headrace-model"]}` : "";
    said(`${told.status} in ${told.took_ms.toFixed(1)} ms${by}${told.whole ? "" : ", cut"}`, told.status < 400 ? "good" : "bad");
    answer.textContent = pretty(told.body, told.headers["content-type"]);
  } catch {
    said("headrace does not answer", "bad");
  } finally {
    button.disabled = false;
  }
}

if (form) {
  form.addEventListener("submit", send);
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
}

// --- Roll back, after asking ----------------------------------------------------------------------------

const dialog = document.getElementById("rollback");

function ask(button) {
  document.getElementById("rollback-from").textContent = button.dataset.from;
  document.getElementById("rollback-to").textContent = button.dataset.to;
  const versions = document.getElementById("rollback-version");
  versions.replaceChildren(...JSON.parse(button.dataset.offered).map((version) => new Option(version)));
  document.getElementById("rollback-problem").textContent = "";
  dialog.dataset.from = button.dataset.from;
  dialog.showModal();
  document.getElementById("rollback-cancel").focus();
}

async function rollBack(event) {
  event.preventDefault();
  const button = document.getElementById("rollback-do");
  const asked = new URLSearchParams({ from: dialog.dataset.from, to: event.target.elements.to.value });
  const reason = event.target.elements.reason.value.trim();
  if (reason) asked.set("reason", reason);
  button.disabled = true;
  try {
    const response = await fetch(`${event.target.dataset.action}?${asked}`, { method: "POST" });
    if (response.ok) {
      dialog.close();
      event.target.reset();
    } else {
      document.getElementById("rollback-problem").textContent = (await response.json()).message;
    }
  } catch {
    document.getElementById("rollback-problem").textContent = "headrace does not answer; nothing is known of a rollback";
  } finally {
    button.disabled = false;
  }
}

if (dialog) {
  document.getElementById("rollback-version").addEventListener("change", (event) => {
    document.getElementById("rollback-to").textContent = event.target.value;
  });
  live.addEventListener("click", (event) => {
    const button = event.target.closest("#rollback-open");
    if (button) ask(button);
  });
  dialog.querySelector("form").addEventListener("submit", rollBack);
  document.getElementById("rollback-cancel").addEventListener("click", () => dialog.close());
  // The button that opened it may be gone by then: focus must not fall to the top of the page.
  dialog.addEventListener("close", () => (document.getElementById("rollback-open") || document.getElementById("main")).focus());
}

// --- Promote, pause, resume, scale, refresh ---------------------------------------------------------------

const told = document.getElementById("order-answer");

async function order(button) {
  const { order: what, ask: question, field, from } = button.dataset;
  const asked = new URLSearchParams(from ? { from } : {});
  if (field) {
    const value = prompt(question, button.dataset.value || "");
    if (!value) return;
    asked.set(field, value.trim());
  } else if (question && !confirm(question)) return;
  button.disabled = true;
  try {
    const response = await fetch(`${told.dataset.orders}${what}?${asked}`, { method: "POST" });
    const answer = await response.json();
    told.textContent = answer.message || "asking the registry";
  } catch {
    told.textContent = "headrace does not answer; nothing is known of what was asked for";
  } finally {
    button.disabled = false;
  }
}

if (told) {
  live.addEventListener("click", (event) => {
    const button = event.target.closest("[data-order]");
    if (button) order(button);
  });
}

listen();
