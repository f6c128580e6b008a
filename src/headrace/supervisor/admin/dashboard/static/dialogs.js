// What changes something is asked about first: a button opens the dialog of its order, which says what will happen and
// sends it. A button with an order that has no dialog sends it at once.
//
// In a dialog, an element with data-shows="X" has what the button has in data-X, or what is chosen in the field X, as
// its text; a field of a name that the button has in its data begins with that, and one with data-options offers those.

import { token } from "./session.js";

const live = document.getElementById("live");

function show(dialog, name, text) {
  for (const one of dialog.querySelectorAll(`[data-shows="${name}"]`)) one.textContent = text;
}

function open(dialog, button) {
  const form = dialog.querySelector("form");
  form.reset();
  for (const [name, value] of Object.entries(button.dataset)) show(dialog, name, value);
  for (const field of form.elements) {
    if (field.nodeName === "SELECT")
      field.replaceChildren(...JSON.parse(button.dataset[field.dataset.options]).map((one) => new Option(one)));
    else if (field.name && field.name in button.dataset) field.value = button.dataset[field.name];
    if (field.name) show(dialog, field.name, field.value);
  }
  show(dialog, "problem", "");
  dialog.dataset.from = button.dataset.from || "";
  dialog.showModal();
  dialog.querySelector("[data-begin]").focus();
}

function asked(dialog) {
  const fields = [...new FormData(dialog.querySelector("form"))].map(([name, value]) => [name, value.trim()]);
  if (dialog.dataset.from) fields.push(["from", dialog.dataset.from]);
  return new URLSearchParams(fields.filter(([, value]) => value));
}

// Resolves to [whether it was taken, what the server says].
async function send(told, order, fields) {
  try {
    const response = await fetch(`${told.dataset.orders}${order}?${fields}`, { method: "POST", headers: token() });
    const answer = await response.json();
    return [response.ok, answer.message || "The registry is being asked."];
  } catch {
    return [false, "headrace does not answer; nothing is known of what was asked for"];
  }
}

function startDialog(dialog, told) {
  const { order } = dialog.dataset;
  dialog.addEventListener("change", (event) => show(dialog, event.target.name, event.target.value));
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    event.submitter.disabled = true;
    const [taken, message] = await send(told, order, asked(dialog));
    event.submitter.disabled = false;
    if (taken) {
      told.textContent = message;
      dialog.close();
    } else show(dialog, "problem", message);
  });
  dialog.querySelector("[data-cancel]").addEventListener("click", () => dialog.close());
  // The button that opened it may be gone by then: focus must not fall to the top of the page.
  dialog.addEventListener("close", () =>
    (live.querySelector(`[data-order="${order}"]`) || document.getElementById("main")).focus());
}

export function startDialogs() {
  const told = document.getElementById("order-answer");
  if (!told) return;
  const dialogs = new Map([...document.querySelectorAll("dialog[data-order]")].map((one) => [one.dataset.order, one]));
  for (const dialog of dialogs.values()) startDialog(dialog, told);
  live.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-order]");
    if (!button) return;
    const dialog = dialogs.get(button.dataset.order);
    if (dialog) return open(dialog, button);
    button.disabled = true;
    [, told.textContent] = await send(told, button.dataset.order, "");
    button.disabled = false;
  });
}
