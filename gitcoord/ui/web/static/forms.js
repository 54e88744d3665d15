// Forms, and the questions before an act that takes something away, built from the offers that the server names.

import { $, el } from "./dom.js";

/** Show a dialog; resolves to its values, or to null. */
function open(title, inside, go) {
  return new Promise((done) => {
    const dialog = $("dialog");
    const buttons = el("div", { class: "buttons" },
      el("button", { type: "button", onclick: () => dialog.close("") }, go ? "Leave it" : "Back"),
      go ? el("button", { type: "submit", class: "go" }, go) : "");
    const form = el("form", { method: "dialog", onsubmit: (event) => {
      event.preventDefault();
      dialog.close("go");
    } }, ...inside, buttons);
    dialog.replaceChildren(el("h2", { id: "dialog-title" }, title), form);
    dialog.returnValue = "";
    dialog.onclose = () => done(dialog.returnValue === "go" ? form : null);
    dialog.showModal();
  });
}

export const question = async (text, about) => (await open(text, [el("p", { class: "text" }, about)], "Do it")) !== null;

export async function fill(title, fields, names, draft) {
  const inside = fields.map((field) => part(field, draft[field.name]));
  inside.push(el("datalist", { id: "names" }, ...names.map((name) => el("option", { value: name }))));
  const form = await open(title, inside, "Send");
  if (!form) return null;
  const values = {};
  for (const field of fields) {
    const input = form.elements[field.name];
    const value = field.kind === "flag" ? input.checked : input.value.trim();
    if (value !== "") values[field.name] = field.kind === "priority" ? Number(value) : value;
  }
  return values;
}

function part(field, known) {
  const label = field.needed || field.kind === "flag" ? field.label : `${field.label} (may be empty)`;
  const common = { name: field.name, required: field.needed && field.kind !== "flag" };
  if (field.kind === "flag") return el("label", { class: "flag" }, el("input", { ...common, type: "checkbox", checked: known }), label);
  if (field.kind === "text") {
    const send = (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.target.form.requestSubmit();
    };
    return el("label", {}, label, el("textarea", { ...common, onkeydown: send }, known ?? ""));
  }
  const kinds = {
    priority: { type: "number", min: 0, max: 4, value: known ?? 2 },
    session: { list: "names", autocomplete: "off", placeholder: "NAME, all or role:ROLE" },
    name: { list: "names", autocomplete: "off", placeholder: "NAME" },
  };
  return el("label", {}, label, el("input", { ...common, value: known, ...kinds[field.kind] }));
}

export function help(offers) {
  const keys = [["j k", "the next row, the one before"], ["0", "what needs you"], ["1 … 6", "the sections"], ["Enter", "open"],
    ["/", "search: words, or @NAME for one session's messages"], ["n", "new message; on the board: new task"],
    ["Esc", "back, or show all again"], ["?", "this help"],
    ...Object.entries(offers).filter(([name]) => name !== "send" && name !== "add").map(([, offer]) => [offer.key, offer.label])];
  const table = el("table", {}, ...keys.map(([key, what]) => el("tr", {}, el("td", {}, el("kbd", {}, key)), el("td", {}, what))));
  open("Keys", [table], "");
}
