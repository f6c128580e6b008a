// The fields of a request, and its JSON: what is written in one is seen in the other. The JSON is what is sent.
import { isNumber, isObject, parse, Written, write } from "./json.js";

const WRONG = { integer: "not a whole number", number: "not a number", json: "not JSON" };

// How a request's rows are reached, whichever of MLflow's forms it has; null where it has none that fields can show.
function rowsOf(body, fields, tensors) {
  if (!isObject(body)) return null;
  const key = ["dataframe_records", "instances", "inputs"].find((name) => name in body);
  const value = body[key];
  const split = body.dataframe_split;
  if (tensors) {
    if (fields.length === 1 && !fields[0].name && key)
      return { get: () => body[key], set: (_, __, found) => { body[key] = found; }, size: () => 1 };
    return isObject(value) ? { get: (_, name) => value[name], set: (_, name, found) => put(value, name, found), size: () => 1 } : null;
  }
  if (split && Array.isArray(split.columns) && Array.isArray(split.data) && split.data.every(Array.isArray)) {
    const at = (name) => split.columns.indexOf(name);
    return {
      get: (row, name) => split.data[row][at(name)],
      set: (row, name, found) => {
        if (at(name) < 0) {
          if (found === undefined) return;
          split.columns.push(name);
          for (const one of split.data) one.push(null);
        }
        split.data[row][at(name)] = found === undefined ? null : found;
      },
      size: () => split.data.length,
      list: split.data,
    };
  }
  if (!Array.isArray(value)) return null;
  if (value.every(isObject))
    return { get: (row, name) => value[row][name], set: (row, name, found) => put(value[row], name, found), size: () => value.length, list: value };
  if (fields.length === 1 && !value.some((one) => one !== null && typeof one === "object" && !(one instanceof Written)))
    return { get: (row) => value[row], set: (row, _, found) => { value[row] = found === undefined ? null : found; }, size: () => value.length, list: value };
  return null;
}

function put(object, name, value) {
  if (value === undefined) delete object[name];
  else object[name] = value;
}

function shown(value, kind) {
  if (value === undefined || value === null) return "";
  if (kind !== "json" && typeof value !== "object") return String(value);
  return write(value, "", "");
}

// What a field says: a value, undefined for nothing, or why it is none.
function said(input) {
  const { kind } = input.dataset;
  const text = kind === "text" ? input.value : input.value.trim();
  if (text === "") return { value: kind === "text" && input.required ? "" : undefined };
  if (kind === "boolean") return { value: text === "true" };
  if (kind === "number" || kind === "integer") {
    const fits = isNumber(text) && (kind === "number" || /^-?\d+$/.test(text));
    return fits ? { value: new Written(text) } : { wrong: WRONG[kind] };
  }
  if (kind !== "json") return { value: text };
  try {
    return { value: parse(text) };
  } catch {
    return { wrong: WRONG.json };
  }
}

export function startFields(form, body, type) {
  const box = document.getElementById("try-fields");
  if (!box) return;
  const apart = document.getElementById("try-apart");
  const row = document.getElementById("try-row");
  const inputs = [...box.querySelectorAll("[data-of]")].map((element) => ({
    element,
    kind: element.dataset.kind,
    of: element.dataset.of,
    name: JSON.parse(element.dataset.name),
  }));
  const fields = inputs.filter((one) => one.of === "input");
  let request = null;

  function read() {
    let why = "";
    let rows = null;
    request = null;
    if (type.value !== "application/json") why = "The fields are for JSON.";
    else {
      try {
        request = parse(body.value);
        rows = rowsOf(request, fields, "tensors" in form.dataset);
        if (!rows || !rows.size()) why = "The request has a form that these fields cannot show. Change it as text, or reset it.";
      } catch (error) {
        why = `The request is no JSON: ${error.message}`;
      }
    }
    apart.textContent = why;
    apart.hidden = !why;
    box.disabled = Boolean(why);
    return why ? null : rows;
  }

  function current() {
    return row ? row.selectedIndex : 0;
  }

  function fill() {
    const rows = read();
    if (!rows) return;
    const at = Math.max(0, Math.min(current(), rows.size() - 1));
    if (row) {
      row.replaceChildren(...Array.from({ length: rows.size() }, (_, i) => new Option(`${i + 1} of ${rows.size()}`, i, false, i === at)));
      document.getElementById("try-remove").disabled = rows.size() < 2;
    }
    for (const { element, kind, of, name } of inputs) {
      if (element === document.activeElement) continue;
      const value = of === "param" ? (request.params || {})[name] : rows.get(at, name);
      element.value = shown(value, kind);
      mark(element, "");
    }
  }

  function mark(element, wrong) {
    document.getElementById(`${element.id}-wrong`).textContent = wrong;
    if (wrong) element.setAttribute("aria-invalid", "true");
    else element.removeAttribute("aria-invalid");
  }

  function show() {
    body.value = write(request);
    body.dispatchEvent(new Event("written"));
  }

  box.addEventListener("input", ({ target }) => {
    const found = inputs.find((one) => one.element === target);
    const rows = found && read();
    if (!rows) return;
    const { value, wrong } = said(target);
    mark(target, wrong || (value === undefined && target.required ? "required" : ""));
    if (wrong) return;
    if (found.of === "input") rows.set(current(), found.name, value);
    else {
      request.params = isObject(request.params) ? request.params : {};
      put(request.params, found.name, value);
      if (!Object.keys(request.params).length) delete request.params;
    }
    show();
  });
  if (row) {
    row.addEventListener("change", fill);
    document.getElementById("try-add").addEventListener("click", () => {
      const rows = read();
      if (!rows) return;
      rows.list.splice(current() + 1, 0, structuredCopy(rows.list[current()]));
      show();
      row.append(new Option());
      row.selectedIndex = current() + 1;
      fill();
    });
    document.getElementById("try-remove").addEventListener("click", () => {
      const rows = read();
      if (!rows || rows.size() < 2) return;
      rows.list.splice(current(), 1);
      show();
      fill();
    });
  }
  body.addEventListener("input", fill);
  type.addEventListener("change", fill);
  fill();
}

function structuredCopy(value) {
  return parse(write(value, "", ""));
}
