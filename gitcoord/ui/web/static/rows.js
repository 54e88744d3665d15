// The rows of each list. A row is a button; its parts are texts.

import { ageSpan } from "./ages.js";
import { el, span } from "./dom.js";

export const SIGNS = { active: "●", idle: "○", waiting: "◆", unknown: "?", expected: "·", gone: "✕" };
const STATES = { active: "green", waiting: "yellow strong", gone: "red", idle: "", unknown: "dim", expected: "dim" };
const KINDS = { conflict: "red", failed: "red", died: "red", waiting: "yellow", ack: "yellow", trust: "violet" };

const join = (...words) => words.filter(Boolean).join(" ");

export const LINES = {
  needs: (row) => [
    span(row.kind, join(row.urgent ? "red strong" : KINDS[row.kind] ?? "blue")),
    span(row.who, "strong wide"),
    span(join(row.urgent ? "urgent:" : "", row.text, row.choices.length ? "" : `(${row.command})`)),
    ageSpan(row.at),
  ],
  sessions: (row) => [
    span(join(SIGNS[row.state], row.name.split("@")[0] || "nobody"), row.name ? "strong" : "dim"),
    span(row.state, STATES[row.state]),
    ageSpan(row.at),
    span(row.branch !== row.worktree && row.branch ? row.branch : row.worktree, "blue wide"),
    span(row.files.length ? `${row.files.length} ${row.files.length > 1 ? "files" : "file"}` : "", "yellow"),
    span(row.unread ? `${row.unread} ✉` : "", "yellow wide"),
    span(row.is_user ? "you" : row.name ? row.task || row.focus : `worktree ${row.worktree}`, row.task ? "" : "dim"),
  ],
  conversation: (row, user) => [
    span(row.waits ? "◆" : "", "yellow strong"),
    span(row.who.filter((name) => name !== user).join(", ") || user, row.waits ? "strong" : "blue"),
    span(row.said.length > 1 ? `${row.last_by}: ${row.last}` : row.last),
    span(row.said.length > 1 ? String(row.said.length) : "", "dim"),
    ageSpan(row.at),
  ],
  board: (row) => {
    const facts = row.waits.length ? `waits for ${row.waits.join(", ")}`
      : row.status === "blocked" ? row.words : row.needed_by.length ? `${row.needed_by.length} ${row.needed_by.length > 1 ? "wait" : "waits"} for it` : "";
    const who = row.holder ? join(row.holder, row.holder_state === "gone" ? "(gone)" : "") : row.assignee && `for ${row.assignee}`;
    const more = join(who, facts && who ? "·" : "", facts);
    return [
      span(`p${row.priority}`, row.priority === 0 ? "strong" : "dim"),
      span(row.title, row.status === "blocked" ? "title red" : "title"),
      ...(more ? [span(more, row.holder_state === "gone" ? "more red" : "more dim")] : []),
    ];
  },
  pair: (row) => [
    span(row.conflicts.length ? "✕" : "≈", row.conflicts.length ? "red strong" : "yellow"),
    span(`${row.a} ↔ ${row.b}`, "strong"),
    span(row.conflicts.length ? `${row.conflicts.length} will not merge: ${[...row.conflicts, ...row.merges].join(", ")}`
      : `merges: ${row.merges.join(", ")}`),
    span(""),
  ],
  lock: (row) => [
    span("▣", "yellow"),
    span(join(row.holder, row.shared ? "(shared)" : ""), "strong"),
    span(join(row.patterns.join(", "), row.reason)),
    ageSpan(row.expires, "left"),
  ],
  jobs: (row) => {
    const runs = row.state === "running";
    return [
      span(runs ? "▶" : row.failed ? "✕" : "✓", runs ? "green" : row.failed ? "red strong" : "dim"),
      span(row.name, "strong"),
      span(row.session, "blue wide"),
      span(runs ? join("running", row.how) : row.how, row.failed ? "red" : ""),
      span(row.command, "dim wide"),
      ageSpan(runs ? row.started : row.ended),
    ];
  },
  timeline: (row) => [ageSpan(row.at), span(row.who, "strong"), span(row.kind, "blue"), span(row.text)],
};

/** A row as a button, which is chosen by a click, or by Enter. */
export function rowButton(line, row, user, choose) {
  const button = el("button", { type: "button", class: "row", onclick: () => choose(row) }, ...LINES[line](row, user));
  button.dataset.part = "row";
  return button;
}
