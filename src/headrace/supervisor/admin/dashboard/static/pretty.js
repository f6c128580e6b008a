// Lays JSON out. White space only: to parse an answer and write it anew would show 1.0 as 1, round long numbers and
// refuse NaN.
export function pretty(text, type) {
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
