// Talk to the server. If the connection is lost, say so, and try again until it is back.

import { setClock } from "./ages.js";

const RETRY = 2000;
const SILENT = 40000; // the server gives a sign every 15 seconds

export async function post(path, name, given) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-gitcoord": "1" },
      body: JSON.stringify({ name, given }),
    });
  } catch {
    return { error: "the server does not answer", hint: "" };
  }
  try {
    return await answer.json();
  } catch {
    return { error: `the server refused this (${answer.status})`, hint: "open the link that git coord ui --web printed" };
  }
}

/** Listen for news; `take(name, value)` gets each, `lost(words)` the fault of the connection, "" if there is none. */
export function listen(names, take, lost) {
  let source, watchdog;
  const hear = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(again, SILENT);
    lost("");
  };
  async function again() {
    clearTimeout(watchdog);
    source.close();
    lost("The server is lost. Trying again…");
    let status = 0;
    try {
      status = (await fetch("static/icon.svg")).status;
    } catch { /* it is not there */ }
    if (status === 401) lost("The server was started anew: open the link that it printed, here or in another tab. Trying again…");
    setTimeout(connect, RETRY);
  }
  function connect() {
    source = new EventSource("news");
    source.onerror = again;
    for (const name of names) {
      source.addEventListener(name, (event) => {
        hear();
        take(name, JSON.parse(event.data));
      });
    }
    source.addEventListener("beat", (event) => {
      hear();
      setClock(JSON.parse(event.data));
    });
  }
  connect();
}
