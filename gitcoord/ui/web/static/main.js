// The page: the needs of its person on top, a section below, one row in full beside it.

import { moveAges, ageSpan } from "./ages.js";
import { DETAILS } from "./detail.js";
import { $, el, reconcile, say, span } from "./dom.js";
import { fill, help, question } from "./forms.js";
import { rowButton } from "./rows.js";
import { listen, post } from "./server.js";

const SECTIONS = ["sessions", "conversation", "board", "overlaps", "jobs", "timeline"];
const NAMES = ["hello", "head", "needs", "sessions", "more_sessions", "names", "threads", "more_threads", "board", "pairs", "overlaps_unknown", "locks", "jobs",
  "events", "more_events", "wrong", "wrote"];
const EMPTY = {
  sessions: "Nobody works here yet.\ngit worktree add ../NAME, and start an agent in it.",
  conversation: "Nobody has said anything yet. New message writes the first one.",
  board: "No tasks yet. New task files the first one.",
  overlaps: "No two sessions change the same files, and nothing is locked.",
  jobs: "No jobs today.\ngit coord run -- COMMAND runs one.",
  timeline: "Nothing has happened yet.",
};
const TITLES = { worktrees: "Worktrees here", people: "People" };

const state = { section: "sessions", words: "", found: null, chosen: null, deep: null, hello: { offers: {}, anywhere: [] } };
const facts = { needs: [], sessions: [], names: [], threads: [], board: [], pairs: [], locks: [], jobs: [], events: [] };

// the lists

/** Groups of [title, kind of line, rows] of the section that is shown. */
function groups() {
  const has = (row) => matches(JSON.stringify(row));
  switch (state.section) {
    case "sessions": {
      const found = new Map();
      for (const row of facts.sessions.filter(has)) found.set(row.group, [...(found.get(row.group) ?? []), row]);
      return [...found].map(([group, rows]) => [TITLES[group] ?? `Clone ${group}, as it said last`, "sessions", rows]);
    }
    case "conversation": return [["", "conversation", state.found ?? facts.threads.filter(has)]];
    case "board": return facts.board.map((column) => [columnTitle(column), "board", column.rows.filter(has)]);
    case "overlaps": return [["Both changed", "pair", facts.pairs.filter(has)],
      ...(facts.overlaps_unknown ? [[`Overlaps: ${facts.overlaps_unknown}`, "pair", []]] : []), ["Locks", "lock", facts.locks.filter(has)]];
    case "jobs": return [["", "jobs", facts.jobs.filter(has)]];
    default: return [["", "timeline", facts.events.filter(has)]];
  }
}

const columnTitle = (column) => `${column.name[0].toUpperCase()}${column.name.slice(1)} ${column.rows.length + column.more}`;

function matches(text) {
  const lower = text.toLowerCase();
  return state.words.toLowerCase().split(/\s+/).every((word) => lower.includes(word));
}

function count(section) {
  const counts = {
    sessions: () => (facts.head?.states ?? []).reduce((sum, [name, n]) => sum + (["active", "idle", "waiting"].includes(name) ? n : 0), 0),
    conversation: () => facts.threads.reduce((sum, thread) => sum + thread.waits, 0),
    board: () => facts.board.slice(0, 3).reduce((sum, column) => sum + column.rows.length + column.more, 0),
    overlaps: () => facts.pairs.length,
    jobs: () => facts.jobs.filter((job) => job.state === "running").length,
    timeline: () => 0,
  };
  return counts[section]();
}

// draw

function draw() {
  drawHead();
  drawNeeds();
  drawTabs();
  drawRows();
  drawDetail();
}

function drawHead() {
  const head = facts.head;
  if (!head) return;
  say($("project"), head.project);
  document.title = facts.needs.length ? `(${facts.needs.length}) ${head.project}` : head.project;
  const parts = [`you are ${head.user}`, ...head.states.map(([name, n]) => `${n} ${name}`)];
  reconcile($("facts"), parts, (part) => part, (part) => span(part));
  const unsent = head.unsent ? `, ${head.unsent} to send` : "";
  const exchange = head.remote ? [{ remote: head.remote, at: head.synced, unsent }] : [];
  reconcile($("exchange"), exchange, () => "exchange", (it) =>
    el("span", {}, `${it.remote} ${it.at ? "synced " : "not synced"}`, it.at ? ageSpan(it.at) : "", it.unsent));
}

function drawNeeds() {
  const list = $("needs-list");
  list.classList.add("needs");
  reconcile(list, facts.needs, (row) => row.key, (row) =>
    el("li", {}, rowButton("needs", row, "", openNeed), acts(row.choices.slice(0, 3), row.who || row.kind)));
  $("needs").classList.toggle("pressing", facts.needs.length > 0);
  $("needs-empty").hidden = facts.needs.length > 0;
  if (facts.head) say($("needs-empty"), "Nothing needs you.");
  say($("needs-title"), facts.needs.length ? `Needs you ${facts.needs.length}` : "Needs you");
}

function drawTabs() {
  reconcile($("tabs"), SECTIONS.map((name) => ({ name, n: count(name), here: name === state.section })), (tab) => tab.name, (tab) => {
    const title = tab.name[0].toUpperCase() + tab.name.slice(1);
    const button = el("button", { type: "button", "aria-current": tab.here && "page", onclick: () => show(tab.name) }, title,
      tab.n ? el("span", { class: "count" }, String(tab.n)) : "");
    button.dataset.part = "tab";
    return el("li", {}, button);
  });
}

function drawRows() {
  $("view").className = state.section;
  say($("view-title"), state.section[0].toUpperCase() + state.section.slice(1));
  say($("new"), state.section === "board" ? "New task" : "New message");
  $("new").hidden = state.hello.read_only === true;
  const shown = groups().filter(([title, , rows]) => rows.length || state.section === "board" || title.startsWith("Overlaps:"));
  const rows = shown.reduce((sum, [, , its]) => sum + its.length, 0);
  reconcileGroups(shown);
  $("rows").hidden = !rows && !shown.length;
  $("empty").hidden = rows > 0 || !facts.head;
  say($("empty"), state.words ? `Nothing here has “${state.words}”. Esc shows all again.` : EMPTY[state.section]);
}

function reconcileGroups(shown) {
  const box = $("rows");
  const names = shown.map(([title, line], n) => ({ title, line, n }));
  reconcile(box, names.map(({ line, n }) => ({ id: `${state.section} ${line} ${n}` })), (it) => it.id, () =>
    el("div", {}, el("h3", {}), el("ul", {})));
  shown.forEach(([title, line, rows], n) => {
    const [head, list] = box.children[n].children;
    say(head, title);
    head.hidden = !title;
    reconcile(list, rows, (row) => row.key, (row) => el("li", {}, rowButton(line, row, facts.head?.user, (it) => choose(line, it))));
  });
  ends.disconnect();
  if (state.section === "board") facts.board.forEach((column, n) => drawMore(box.children[n], "tasks", column.more && `${column.more} more…`));
  else drawMore(box, PAGES[state.section], {
    conversation: facts.more_threads && !state.found && "Older…", timeline: facts.more_events && "Older…",
    sessions: facts.more_sessions && "More…",
  }[state.section]);
  mark();
}

const PAGES = { sessions: "sessions", conversation: "talk", board: "tasks", timeline: "events" };

/** The end of a list that has more rows than were read: scrolling to it reads more. */
const ends = new IntersectionObserver((seen) => seen.forEach((it) => it.isIntersecting && scrolled && it.target.click()));
let scrolled = false;
$("rows").addEventListener("scroll", () => {
  if (!scrolled) {
    scrolled = true;
    for (const button of document.querySelectorAll(".older")) ends.observe(button);
  }
}, { capture: true, passive: true });

function drawMore(box, page, words) {
  box.querySelector(":scope > .older")?.remove();
  if (!words) return;
  const older = el("button", { type: "button", class: "older", onclick: () => post("more", page, {}) }, words);
  older.dataset.key = "older";
  box.append(older);
  if (scrolled) ends.observe(older);
}

function mark() {
  for (const button of document.querySelectorAll(".row")) {
    const here = state.chosen?.key === button.parentElement.dataset.key && (state.chosen.line === "needs") === !!button.closest("#needs");
    if ((button.getAttribute("aria-current") === "true") !== here) {
      if (here) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }
}

// one row in full

const SOURCES = { needs: "needs", sessions: "sessions", conversation: "threads", pair: "pairs", lock: "locks", jobs: "jobs", timeline: "events" };

function chosenRow() {
  if (!state.chosen) return null;
  const { line, key } = state.chosen;
  const rows = line === "board" ? facts.board.flatMap((column) => column.rows)
    : line === "conversation" ? [...(state.found ?? []), ...facts.threads] : facts[SOURCES[line]];
  return rows.find((row) => row.key === key) ?? null;
}

function drawDetail() {
  const row = chosenRow();
  const look = JSON.stringify([state.chosen, row, state.deep]);
  const box = $("detail");
  if (box.look === look) return;
  const same = box.chosen === state.chosen?.key;
  const draft = same ? box.querySelector(".composer textarea") : null;
  const end = box.scrollHeight - box.scrollTop - box.clientHeight < 30;
  box.look = look;
  box.chosen = state.chosen?.key;
  if (!row) {
    box.replaceChildren(el("p", { class: "dim" }, "Choose a row to see all of it."));
    return;
  }
  const { line } = state.chosen;
  const writing = draft && document.activeElement === draft;
  const inside = DETAILS[line](row, state.deep, (choices) => acts(choices, "")).filter((part) => part !== "");
  const composing = line === "conversation" && !state.hello.read_only;
  const below = composing ? composer(row, draft) : acts(row.choices ?? [], "");
  box.replaceChildren(...inside, ...(below ? [below] : []));
  if (writing) box.querySelector(".composer textarea").focus();
  if (["conversation", "jobs"].includes(line) && (!same || end)) box.scrollTop = box.scrollHeight; // where it goes on
}

function composer(row, draft) {
  const answer = row.choices.find((choice) => choice.offer === "reply");
  const text = draft ?? el("textarea", { "aria-label": "Answer", placeholder: "Answer. Enter sends, Shift-Enter begins a new line.", onkeydown: (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      event.target.closest("form").requestSubmit();
    }
  } });
  return el("form", { class: "composer", onsubmit: async (event) => {
    event.preventDefault();
    const words = text.value.trim();
    if (words && (await act("reply", { ...answer.given, text: words }))) text.value = "";
  } }, text, el("button", { type: "submit" }, "Answer"));
}

async function choose(line, row) {
  state.chosen = { line, key: row.key };
  state.deep = null;
  mark();
  drawDetail();
  const read = line === "conversation" && row.choices.find((choice) => choice.offer === "read");
  if (read && !state.hello.read_only) act("read", read.given, true);
  await ask();
}

async function ask() {
  const asked = { sessions: ["session", "name"], board: ["task", "id"], jobs: ["job", "id"] }[state.chosen?.line];
  const row = chosenRow();
  if (!asked || !row || (asked[0] === "session" && !row.name)) return;
  const { answer } = await post("ask", asked[0], { [asked[1]]: row.key });
  if (answer !== undefined && state.chosen?.key === row.key) {
    state.deep = answer;
    drawDetail();
  }
}

function openNeed(row) {
  if (!row.section) {
    choose("needs", row);
    return;
  }
  show(row.section);
  const found = groups().flatMap(([, line, rows]) => rows.map((it) => [line, it])).find(([, it]) => it.key === row.about);
  if (found) choose(...found);
  else choose("needs", row);
}

// act

function acts(choices, about) {
  const allowed = state.hello.read_only ? [] : choices;
  if (!allowed.length) return null;
  return el("div", { class: "acts" }, ...allowed.map((choice) => {
    const offer = state.hello.offers[choice.offer];
    const label = about ? { "aria-label": `${offer.label}: ${about}` } : {};
    const button = el("button", { type: "button", title: `key ${offer.key}`, ...label, onclick: () => perform(choice) }, offer.label);
    button.dataset.part = choice.offer;
    return button;
  }));
}

async function perform(choice) {
  const offer = state.hello.offers[choice.offer];
  if (state.hello.read_only || !offer) return;
  const given = choice.given;
  const fields = offer.fields.filter((field) => !(field.name in given));
  if (offer.asks && !(await question(offer.asks, chosenRow()?.title ?? chosenRow()?.name ?? ""))) return;
  if (fields.length) {
    const title = offer.label[0].toUpperCase() + offer.label.slice(1) + (given.to ? ` ${given.to}` : "");
    const about = JSON.stringify(choice);
    const values = await fill(title, fields, facts.names, drafts.get(about) ?? {});
    if (!values) return;
    drafts.set(about, values);
    if (await act(offer.act, { ...given, ...values })) drafts.delete(about);
    return;
  }
  await act(offer.act, given);
}

const drafts = new Map(); // what was filled in for acts that failed: their forms have it again

async function act(name, given, quietly = false) {
  const { answer, error, hint } = await post("act", name, given);
  if (error || !quietly) {
    $("said").className = error ? "bad" : "";
    say($("said"), error ? `${error}${hint ? ` (${hint})` : ""}` : answer);
  }
  if (!error) ask();
  return !error;
}

// moving around

function show(section) {
  if (section !== state.section) {
    Object.assign(state, { section, words: "", found: null, chosen: null, deep: null });
    scrolled = false;
    $("search").value = "";
    $("rows").replaceChildren();
    $("rows").scrollTop = 0;
  }
  draw();
}

function move(step) {
  const inNeeds = document.activeElement?.closest("#needs");
  const rows = [...document.querySelectorAll(inNeeds ? "#needs .row" : "#rows .row")];
  const at = rows.indexOf(document.activeElement);
  const next = rows[at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + step))];
  next?.focus();
  if (next && !inNeeds) next.click();
}

function focusedChoices() {
  const item = document.activeElement?.closest("#needs li");
  const row = item ? facts.needs.find((it) => it.key === item.dataset.key) : chosenRow();
  return row?.choices ?? [];
}

const KEYS = {
  j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1),
  0: () => document.querySelector("#needs .row")?.focus(), "/": () => $("search").focus(), "?": () => help(state.hello.offers),
  n: () => $("new").click(),
  Escape: () => {
    $("search").value = "";
    Object.assign(state, { words: "", found: null });
    draw();
    document.activeElement?.blur();
    document.querySelector("#rows .row")?.focus();
  },
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, textarea, select") || $("dialog").open;
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape") || $("dialog").open) return;
  const name = SECTIONS[Number(event.key) - 1];
  const choice = focusedChoices().find((it) => state.hello.offers[it.offer]?.key === event.key);
  const key = KEYS[event.key] ?? (name && (() => show(name))) ?? (choice && (() => perform(choice)));
  if (key) {
    event.preventDefault();
    key();
  }
});

$("new").addEventListener("click", () => perform({ offer: state.section === "board" ? "add" : "send", given: {} }));
$("search").addEventListener("input", () => {
  const page = PAGES[state.section];
  if (!state.words && ["sessions", "tasks"].includes(page)) post("more", page, { whole: true }); // a search goes through all
  Object.assign(state, { words: $("search").value.trim(), found: null });
  drawRows();
});
$("search").addEventListener("keydown", async (event) => {
  if (event.key !== "Enter") return;
  const words = state.words;
  if (words && state.section === "conversation") {
    const asked = words.startsWith("@") ? { session: words.slice(1) } : { words };
    const { answer, error } = await post("ask", "talk", { ...asked, limit: 500 });
    if (error) say($("said"), error);
    else if (state.words === words) state.found = answer;
  }
  drawRows();
  document.querySelector("#rows .row")?.focus();
});

// the colours

const THEMES = ["system", "light", "dark"];
function theme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  say($("theme"), `Colours: ${name}`);
  localStorage.setItem("theme", name);
}
$("theme").addEventListener("click", () => theme(THEMES[(THEMES.indexOf(localStorage.getItem("theme") ?? "system") + 1) % 3]));
theme(THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "system");

// news

let drawing = 0;
let lost = "";

function take(name, value) {
  if (name === "hello") state.hello = value;
  else if (name === "wrote") return readOutput(value);
  else if (name === "needs") announce(value);
  facts[name] = value;
  if (!drawing) drawing = setTimeout(() => {
    drawing = 0;
    draw();
    complain();
  }, 0);
}

/** Read the output of a job that has more of it, if this page shows the job, now or later. */
function readOutput(job) {
  if (state.chosen?.line !== "jobs" || state.chosen.key !== job) return;
  if (document.hidden) document.addEventListener("visibilitychange", () => readOutput(job), { once: true });
  else ask();
}

/** Tell a screen reader the new needs of the person. */
function announce(needs) {
  const known = new Set(facts.needs.map((row) => row.key));
  const fresh = needs.filter((row) => !known.has(row.key));
  if (facts.head && fresh.length) say($("announce"), fresh.map((row) => `${row.kind} ${row.who}: ${row.text}`).join(". "));
}

function complain() {
  const words = lost || (facts.wrong ? `${facts.wrong}; trying again…` : "");
  $("lost").hidden = !words;
  say($("lost"), words);
}

listen(NAMES, take, (words) => {
  lost = words;
  complain();
});
setInterval(moveAges, 10000);
