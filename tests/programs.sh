#!/bin/sh
# Installs programs that tests drive from the npm registry into a cache outside of the tree, and prints the folders to be
# put into GITCOORD_AGENTS: Claude Code, Codex, and the Inspector of MCP. Where one cannot be had, its tests skip.
#
# The versions are those that the documents name. On node 20 npm would choose an older Claude Code by itself, though this one
# runs there (with a warning); the Inspector does not, so it gets a node of its own.
set -u
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/gitcoord

# NAME PACKAGE...: prints the folder that has the program NAME in it.
install() {
    name=$1
    shift
    place=$cache/$name-${1##*@}
    bin=$place/node_modules/.bin
    if ! PATH=$bin:$PATH "$bin/$name" --version >/dev/null 2>&1; then
        mkdir -p "$place"
        echo "installing $* into $place" >&2
        npm install --prefix "$place" --no-audit --no-fund --loglevel=error "$@" >&2 </dev/null &&
            PATH=$bin:$PATH "$bin/$name" --version >&2 || return 1
    fi
    echo "$bin"
}

command -v npm >/dev/null || { echo "no npm: the tests of agent programs skip" >&2; exit 1; }
folders=$(
    install claude @anthropic-ai/claude-code@2.1.329 &
    install codex @openai/codex@0.169.0 &
    install mcp-inspector @modelcontextprotocol/inspector@2.12.0 node@22.23.3 &
    wait
)
[ -n "$folders" ] && echo "$folders" | paste -sd : -
