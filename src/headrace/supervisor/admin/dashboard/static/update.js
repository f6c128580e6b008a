// Makes one part of the document like another, touching only what differs: focus, selection and scrolling stay.

// Elements are matched by their key, else by their place and kind. What has data-keep="all" is the script's own,
// data-keep="text" keeps its children; a <details> stays as open as it is.
export function update(to, from) {
  const focused = document.activeElement;
  updateChildren(to, from);
  // Older browsers take the focus from what is moved.
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
}

function updateChildren(to, from) {
  const move = to.moveBefore ? "moveBefore" : "insertBefore";
  const keyed = new Map();
  for (const child of [...to.children].reverse()) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let place = to.firstChild;
  for (const wanted of [...from.childNodes]) {
    const key = wanted.dataset && wanted.dataset.key;
    let found = key ? keyed.get(key) : place;
    keyed.delete(key); // each serves once: two may have the same key
    if (!key && found && found.dataset && found.dataset.key) found = null;
    if (!found || found.nodeName !== wanted.nodeName) {
      to.insertBefore(wanted, place);
      continue;
    }
    if (found === place) place = place.nextSibling;
    else to[move](found, place);
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
  for (const { name } of [...found.attributes])
    if (!wanted.hasAttribute(name) && !(name === "open" && found.nodeName === "DETAILS")) found.removeAttribute(name);
  for (const { name, value } of wanted.attributes) if (found.getAttribute(name) !== value) found.setAttribute(name, value);
  if (found.dataset.keep !== "text") updateChildren(found, wanted);
}
