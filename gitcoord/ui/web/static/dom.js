// Build the page from elements and text; text from elsewhere is never parsed as markup.

export const $ = (id) => document.getElementById(id);

/** An element with properties, and with texts and elements inside. */
export function el(name, properties = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "class") made.className = value;
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...inside.filter((part) => part !== "" && part !== null && part !== undefined));
  return made;
}

export const span = (text, kind = "") => el("span", kind ? { class: kind, title: text } : { title: text }, text);

/** Set a text only if it differs, so that nothing flickers and a screen reader does not speak twice. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Bring the children of `parent` up to date with `rows`: unchanged rows keep their elements, so that focus, selection and
 * scroll position stay.
 */
export function reconcile(parent, rows, key, make) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (const row of rows) {
    const name = key(row);
    const look = JSON.stringify(row);
    let child = known.get(name);
    if (!child || child.look !== look) {
      const fresh = make(row);
      fresh.dataset.key = name;
      fresh.look = look;
      if (child) {
        const focused = child.contains(document.activeElement) && document.activeElement.dataset.part;
        if (at === child) at = fresh;
        child.replaceWith(fresh);
        if (focused) fresh.querySelector(`[data-part="${focused}"]`)?.focus({ preventScroll: true });
      }
      child = fresh;
    }
    known.delete(name);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  for (const gone of known.values()) gone.remove();
}
