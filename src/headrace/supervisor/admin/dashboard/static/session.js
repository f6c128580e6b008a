// Who has signed in: what changes something needs the token of the page, and a page whose session is over asks anew.
const meta = document.querySelector("meta[name=csrf]");

export function token() {
  return meta ? { "X-CSRF-Token": meta.content } : {};
}

export async function leaveIfOver() {
  if (!meta) return;
  try {
    const { status } = await fetch("/", { method: "HEAD" });
    if (status === 401) location.reload();
  } catch {
    // headrace is away: that is told as for everybody
  }
}
