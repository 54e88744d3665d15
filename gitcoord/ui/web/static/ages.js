// Keep ages up to date: look at every element with a time from time to time, and change only those whose text differs.

let ahead = 0; // by how many seconds the server's clock is ahead of ours

export function setClock(theirs) {
  ahead = theirs - Date.now() / 1000;
}

const now = () => Date.now() / 1000 + ahead;

/** The age of something, in the words of the terminal. */
export function age(at) {
  const seconds = Math.max(0, Math.floor(now() - at));
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "m"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)}${unit}`;
  }
  return "now";
}

/** The time that is left. */
export function left(until) {
  const seconds = until - now();
  return seconds >= 60 ? age(now() - seconds) : seconds > 0 ? "<1m" : "over";
}

export function ageSpan(at, counts = "age") {
  const made = document.createElement("span");
  made.className = "age";
  if (at) {
    made.dataset[counts] = at;
    made.title = new Date(at * 1000).toLocaleString();
    made.textContent = counts === "age" ? age(at) : left(at);
  }
  return made;
}

export function moveAges() {
  for (const it of document.querySelectorAll("[data-age]")) {
    const text = age(Number(it.dataset.age));
    if (it.textContent !== text) it.textContent = text;
  }
  for (const it of document.querySelectorAll("[data-left]")) {
    const text = left(Number(it.dataset.left));
    if (it.textContent !== text) it.textContent = text;
  }
}
