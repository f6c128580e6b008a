// What changes something is asked about first: a button opens its dialog, which says what will happen, and sends it.

const live = document.getElementById("live");

function startRollback(dialog) {
  const text = (id, said) => { document.getElementById(id).textContent = said; };
  const versions = document.getElementById("rollback-version");
  versions.addEventListener("change", () => text("rollback-to", versions.value));
  live.addEventListener("click", (event) => {
    const button = event.target.closest("#rollback-open");
    if (!button) return;
    text("rollback-from", button.dataset.from);
    text("rollback-to", button.dataset.to);
    versions.replaceChildren(...JSON.parse(button.dataset.offered).map((version) => new Option(version)));
    text("rollback-problem", "");
    dialog.dataset.from = button.dataset.from;
    dialog.showModal();
    document.getElementById("rollback-cancel").focus();
  });
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = document.getElementById("rollback-do");
    const asked = new URLSearchParams({ from: dialog.dataset.from, to: versions.value });
    const reason = event.target.elements.reason.value.trim();
    if (reason) asked.set("reason", reason);
    button.disabled = true;
    try {
      const response = await fetch(`${event.target.dataset.action}?${asked}`, { method: "POST" });
      if (response.ok) {
        dialog.close();
        event.target.reset();
      } else {
        text("rollback-problem", (await response.json()).message);
      }
    } catch {
      text("rollback-problem", "headrace does not answer; nothing is known of a rollback");
    } finally {
      button.disabled = false;
    }
  });
  document.getElementById("rollback-cancel").addEventListener("click", () => dialog.close());
  // The button that opened it may be gone by then: focus must not fall to the top of the page.
  dialog.addEventListener("close", () => (document.getElementById("rollback-open") || document.getElementById("main")).focus());
}

// Promote, pause, resume, scale, refresh.
function startOrders(told) {
  live.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-order]");
    if (!button) return;
    const { order, ask, field, from } = button.dataset;
    const asked = new URLSearchParams(from ? { from } : {});
    if (field) {
      const value = prompt(ask, button.dataset.value || "");
      if (!value) return;
      asked.set(field, value.trim());
    } else if (ask && !confirm(ask)) return;
    button.disabled = true;
    try {
      const response = await fetch(`${told.dataset.orders}${order}?${asked}`, { method: "POST" });
      const answer = await response.json();
      told.textContent = answer.message || "asking the registry";
    } catch {
      told.textContent = "headrace does not answer; nothing is known of what was asked for";
    } finally {
      button.disabled = false;
    }
  });
}

export function startDialogs() {
  const told = document.getElementById("order-answer");
  if (told) startOrders(told);
  const rollback = document.getElementById("rollback");
  if (rollback) startRollback(rollback);
}
