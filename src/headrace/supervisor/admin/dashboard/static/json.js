// JSON that keeps numbers as they were written: 1.0 stays 1.0, and a long of 19 digits keeps them all.

export class Written {
  constructor(text) {
    this.text = text;
  }
}

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const UNSEEN = /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

export function isNumber(text) {
  return NUMBER.test(text);
}

export function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value) && !(value instanceof Written);
}

export function parse(text) {
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" ? new Written((context && context.source) || String(value)) : value,
  );
}

export function write(value, indent = "", space = "  ") {
  if (value instanceof Written) return value.text;
  if (value === null || typeof value !== "object")
    return JSON.stringify(value).replace(UNSEEN, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const list = Array.isArray(value);
  const parts = list
    ? value.map((one) => write(one, indent + space, space))
    : Object.entries(value).map(([key, one]) => `${write(key)}:${space ? " " : ""}${write(one, indent + space, space)}`);
  const [open, close] = list ? "[]" : "{}";
  if (!parts.length) return open + close;
  // A list of plain values is easier to read in one line.
  if (!space || (list && parts.every((part) => !/[[{]/.test(part[0])))) return open + parts.join(space ? ", " : ",") + close;
  return `${open}\n${indent}${space}${parts.join(`,\n${indent}${space}`)}\n${indent}${close}`;
}
