// One row in full.

import { ageSpan } from "./ages.js";
import { el, span } from "./dom.js";

const LEDGER = { read: "green", acked: "green strong", expired: "red" };

const facts = (...pairs) => {
  const list = el("dl");
  for (const [name, value] of pairs) if (value) list.append(el("dt", {}, name), el("dd", {}, value));
  return list;
};
const listOf = (title, items, kind = "") =>
  items.length ? [el("h3", kind ? { class: kind } : {}, title), el("ul", {}, ...items.map((item) => el("li", {}, item)))] : [];

export const DETAILS = {
  needs: (row) => [
    el("h3", {}, `${row.kind} ${row.who}`),
    el("p", { class: "text" }, row.whole || row.text),
    row.command ? el("pre", {}, row.command) : "",
  ],
  sessions: (row, deep) => [
    el("h3", {}, row.name || `worktree ${row.worktree}`),
    facts(["state", row.state], ["worktree", row.worktree], ["branch", row.branch], ["task", row.task], ["focus", row.focus],
      ["role", row.role], ["program", row.harness], ["mail", row.unread ? `${row.unread} unread` : ""]),
    ...listOf(row.files.length > 1 ? `${row.files.length} files changed` : "1 file changed", row.files),
    ...(deep ? listOf("lately", deep.map((event) => el("span", {}, ageSpan(event.at), " ", span(event.kind, "blue"), " ", event.text))) : []),
  ],
  conversation: (row, deep, tools) => row.said.map((said) => message(said, tools)),
  board: (row, deep) => [
    el("h3", {}, row.title),
    facts(["id", row.key.slice(0, 10)], ["status", row.status], ["priority", String(row.priority)],
      ["held by", row.holder && row.holder_state ? `${row.holder} (${row.holder_state})` : row.holder],
      ["claim", row.tentative ? "tentative, until the next sync" : ""], ["for", row.assignee],
      ["labels", row.labels.join(", ")], ["filed by", row.creator], ["because", row.words]),
    ...listOf("waits for", row.waits), ...listOf("needed by", row.needed_by),
    deep?.text ? el("p", { class: "text" }, deep.text) : "",
    ...(deep ? listOf("history", deep.steps.map((step) => el("span", {}, ageSpan(step.at), " ", span(step.who, "strong"), ` ${step.what}`,
      step.text ? el("p", { class: "text" }, step.text) : ""))) : []),
  ],
  pair: (row) => [
    el("h3", {}, `${row.a} and ${row.b}`),
    ...listOf("will not merge", row.conflicts, "red"), ...listOf("changed by both, merges", row.merges, "yellow"),
  ],
  lock: (row) => [
    el("h3", {}, row.patterns.join(", ")),
    facts(["held by", row.holder], ["kind", row.shared ? "shared" : "exclusive"], ["reason", row.reason],
      ["since", ageSpan(row.at)], ["ends in", ageSpan(row.expires, "left")]),
  ],
  jobs: (row, deep) => [
    el("h3", {}, row.name),
    facts(["state", row.state], ["how", row.how], ["session", row.session], ["command", row.command],
      ["started", ageSpan(row.started)], ["ended", row.ended ? ageSpan(row.ended) : ""]),
    el("h3", {}, "output"),
    el("pre", { tabindex: "0", role: "region", "aria-label": "output" }, (deep ? deep.text : row.tail) || "(nothing yet)"),
  ],
  timeline: (row) => [el("h3", {}, `${row.who} ${row.kind}`), facts(["id", row.key], ["when", ageSpan(row.at)]), el("p", { class: "text" }, row.whole)],
};

function message(row, tools) {
  const kind = row.waits ? "waits" : row.mine ? "mine" : "";
  const marks = [row.urgent ? "urgent" : "", row.needs_ack ? "asks for an ack" : ""].filter(Boolean).join(", ");
  const ledger = row.ledger.flatMap((mark, n) => [
    n ? ", " : "", span(`${mark.name} ${mark.state}`, LEDGER[mark.state] ?? ""), mark.state === "queued" ? "" : " ",
    mark.state === "queued" ? "" : ageSpan(mark.at),
  ]);
  const made = el("article", kind ? { class: kind } : {},
    el("p", { class: "by" }, span(row.who, "strong"), span(`→ ${row.to.join(", ")}`, "dim"), ageSpan(row.at), span(marks, "yellow")),
    el("p", { class: "text" }, row.text),
    row.attachments.length ? el("p", { class: "blue" }, `attached: ${row.attachments.join(", ")}`) : "",
    el("p", { class: "ledger" }, ...ledger),
    tools(row.choices.filter((choice) => choice.offer !== "reply")));
  return made;
}
