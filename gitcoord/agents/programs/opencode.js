// gitcoord: written by `git coord hooks install opencode`, removed by `git coord hooks uninstall opencode`.
// Runs gitcoord's hook script at the moments that opencode reports to its plugins, and passes on its output.
// When anything fails here, opencode continues as if there were no plugin.

import { spawn, spawnSync } from "node:child_process"
import { existsSync } from "node:fs"

const PYTHON = "@PYTHON@"
const HOOKS = "@HOOKS@"
const SCRIPT = HOOKS + "/agent-hook"
const LIMIT = 10000

export const GitCoord = async ({ client, directory }) => {
  if (!existsSync(SCRIPT) || !existsSync(PYTHON)) return {}
  const parents = new Map() // the sessions of helpers, each with its parent
  const fresh = new Set() // sessions begun in this process
  const known = new Set() // sessions that got their brief
  const held = new Set() // sessions that continue only because of this plugin
  const asked = new Set() // sessions whose next prompt is ours
  const told = new Map() // texts to add to the results of tool calls
  const asking = new Set() // sessions that wait for a permission or an answer
  const sleepers = new Map() // the processes that wait for mail of idle sessions

  const root = (id) => (parents.has(id) ? root(parents.get(id)) : id)
  const environment = (id) => ({
    ...process.env,
    python: PYTHON,
    hooks: HOOKS,
    harness: "opencode",
    OPENCODE_PID: String(process.pid),
    OPENCODE_SESSION_ID: id,
  })
  const details = (moment, id, more) =>
    JSON.stringify({
      session_id: root(id),
      ...more,
      cwd: directory,
      hook_event_name: moment,
      agent_id: parents.has(id) ? id : "",
      stop_hook_active: held.has(id),
    })

  const call = (moment, id, more = {}) =>
    new Promise((resolve) => {
      let out = ""
      try {
        const env = { ...environment(root(id)), moment }
        const child = spawn("sh", [SCRIPT], { cwd: directory, env, stdio: ["pipe", "pipe", "ignore"], timeout: LIMIT })
        child.on("error", () => resolve({}))
        child.stdin.on("error", () => {})
        child.stdout.on("data", (data) => (out += data))
        child.on("close", () => {
          try {
            resolve(out ? JSON.parse(out) : {})
          } catch {
            resolve({})
          }
        })
        child.stdin.end(details(moment, id, more))
      } catch {
        resolve({})
      }
    })

  const file = (args) => {
    const path = args?.filePath ?? args?.file_path ?? args?.path
    const patch = args?.patchText ?? args?.patch
    if (typeof path === "string") return { tool_input: { file_path: path } }
    return typeof patch === "string" ? { tool_input: { command: patch } } : undefined
  }
  const isEdit = (tool) => ["edit", "write", "multiedit", "patch", "apply_patch"].includes(tool)

  const say = (id, text) => {
    asked.add(id)
    held.add(id)
    client.session.prompt({ path: { id }, body: { parts: [{ type: "text", text, synthetic: true }] } }).catch(() => {})
  }

  const wakeUp = (id) => {
    const child = sleepers.get(id)
    sleepers.delete(id)
    child?.removeAllListeners("exit")
    child?.kill()
  }

  // An idle session sleeps until a message comes; `run` ends with its turn.
  const sleep = (id) => {
    if (sleepers.has(id) || parents.has(id) || process.argv.includes("run")) return
    const argv = ["-E", "-P", "-m", "gitcoord", "wait", "message"]
    const child = spawn(PYTHON, argv, { cwd: directory, env: environment(id), stdio: ["ignore", "pipe", "ignore"] })
    sleepers.set(id, child)
    child.on("error", () => sleepers.delete(id))
    child.stdout.resume()
    child.on("exit", async (code) => {
      sleepers.delete(id)
      const { context } = code === 0 ? await call("tools", id) : {}
      if (context) say(id, context)
    })
  }

  const stop = async (id) => {
    if (parents.has(id) || !known.has(id)) return
    const { go_on } = await call("stop", id)
    if (go_on) return say(id, go_on)
    held.delete(id)
    sleep(id)
  }

  const end = (id) => {
    if (!known.delete(id)) return
    wakeUp(id)
    const env = { ...environment(id), moment: "end" }
    try {
      spawnSync("sh", [SCRIPT], { cwd: directory, env, input: details("end", id, {}), timeout: 3000 })
    } catch {}
  }
  const endAll = () => [...known].forEach(end)
  process.on("exit", endAll)

  return {
    dispose: async () => endAll(),

    event: async ({ event }) => {
      const { info, sessionID } = event.properties ?? {}
      if (event.type === "session.created" && info) {
        if (info.parentID) parents.set(info.id, info.parentID)
        else fresh.add(info.id)
      }
      if (event.type === "session.idle") await stop(sessionID)
      if (event.type === "session.deleted" && info) end(info.id)
      if (event.type === "session.error" && known.has(sessionID) && !parents.has(sessionID)) {
        const { error } = event.properties
        if (error && error.name !== "MessageAbortedError")
          await call("failed", sessionID, { source: error.data?.message ?? error.name })
      }
      if (["permission.asked", "permission.updated", "question.asked"].includes(event.type) && known.has(root(sessionID))) {
        asking.add(sessionID)
        await call("waiting", sessionID)
      }
    },

    "experimental.session.compacting": async ({ sessionID }) => {
      if (known.has(sessionID)) await call("forget", sessionID)
    },

    "chat.message": async ({ sessionID }, { message, parts }) => {
      if (parents.has(sessionID)) return
      wakeUp(sessionID)
      if (!asked.delete(sessionID)) held.delete(sessionID)
      const first = !known.has(sessionID)
      known.add(sessionID)
      const { context } = await call(first ? "start" : "prompt", sessionID, {
        source: fresh.has(sessionID) ? "startup" : "resume",
      })
      const last = parts[parts.length - 1]
      if (context && last)
        parts.push({ id: last.id + "z", sessionID, messageID: message.id, type: "text", text: context, synthetic: true })
    },

    "tool.execute.before": async ({ tool, sessionID, callID }, { args }) => {
      const runs = tool === "bash" && typeof args?.command === "string"
      const about = runs ? { tool_input: { command: args.command } } : file(args)
      if (!about || (!runs && !isEdit(tool) && tool !== "read")) return
      const { context, deny } = await call(runs ? "shell" : isEdit(tool) ? "edit" : "look", sessionID, about)
      if (deny) throw new Error(deny)
      if (context) told.set(callID, context)
    },

    "tool.execute.after": async ({ tool, sessionID, callID, args }, result) => {
      const lines = told.has(callID) ? [told.get(callID)] : []
      told.delete(callID)
      const about = file(args)
      if (about && isEdit(tool)) await call("edited", sessionID, about)
      if (tool === "bash") await call("ran", sessionID, { tool_input: { command: args?.command ?? "" } })
      const goesOn = asking.delete(sessionID)
      if (goesOn || !parents.has(sessionID)) lines.push((await call("tools", sessionID)).context)
      const text = lines.filter(Boolean).join("\n\n")
      if (text) result.output = `${result.output ?? ""}\n\n${text}`
    },

    "shell.env": async ({ sessionID }, { env }) => {
      env.OPENCODE_PID = String(process.pid)
      if (sessionID) env.OPENCODE_SESSION_ID = root(sessionID)
    },
  }
}
