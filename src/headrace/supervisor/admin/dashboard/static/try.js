// Try a request: through the model's own port, by way of the admin port. Beside it, the same for a shell.
import { startFields } from "./fields.js";
import { parse, write } from "./json.js";
import { pretty } from "./pretty.js";
import { token } from "./session.js";

const MOST_CURL = 4000;
const form = document.getElementById("try-form");

function said(text, kind) {
  const status = document.getElementById("try-status");
  status.textContent = text;
  status.className = `hint ${kind}`;
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
      headers: { "Content-Type": form.elements.type.value, ...token() },
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

function curl(body, type) {
  let text = body;
  if (type === "application/json") {
    try {
      text = write(parse(body), "", "");
    } catch {
      // sent as it is, then
    }
  }
  const data = text.length > MOST_CURL ? "--data-binary @request" : `--data-binary '${text.replaceAll("'", "'\\''")}'`;
  return `curl -s '${form.dataset.url}/invocations' -H 'Content-Type: ${type}' ${data}`;
}

function startShell(body, type) {
  const line = document.getElementById("try-curl");
  if (!line) return;
  const show = () => {
    line.textContent = curl(body.value, type.value);
    document.getElementById("try-copied").textContent = "";
  };
  for (const name of ["input", "written"]) body.addEventListener(name, show);
  type.addEventListener("change", show);
  document.getElementById("try-copy").addEventListener("click", async () => {
    const told = document.getElementById("try-copied");
    try {
      await navigator.clipboard.writeText(line.textContent);
      told.textContent = "copied";
    } catch {
      // Only pages by https or on this machine may copy: select it, then.
      getSelection().selectAllChildren(line);
      told.textContent = "selected";
    }
  });
  show();
}

export function startTrying(live) {
  if (!form) return;
  const { body, type } = form.elements;
  const written = () => body.dispatchEvent(new Event("input"));
  startFields(form, body, type);
  startShell(body, type);
  form.addEventListener("submit", send);
  form.addEventListener("reset", () => setTimeout(written));
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  const madeUp = document.getElementById("try-made-up");
  if (madeUp) madeUp.addEventListener("click", () => {
    body.value = madeUp.dataset.text;
    written();
  });
  live.addEventListener("updated", () => {
    const serves = document.getElementById("now-serves");
    document.getElementById("try-stale").hidden = !serves || serves.dataset.signature === form.dataset.signature;
  });
}
