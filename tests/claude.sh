#!/bin/sh
# Installs Claude Code from the npm registry into a cache outside of the tree, for the tests that drive it, and prints the
# folder to be put into GITCOORD_AGENTS. Fails where that cannot be done; then those tests skip.
#
# The version is named: on node 20 npm would choose an older one by itself, though this one runs there (with a warning).
set -eu
version=2.1.329

place=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/gitcoord/claude-$version
bin=$place/node_modules/.bin
if [ ! -x "$bin/claude" ] || ! "$bin/claude" --version >/dev/null 2>&1; then
    command -v npm >/dev/null || { echo "no npm: the tests of Claude Code skip" >&2; exit 1; }
    mkdir -p "$place"
    echo "installing Claude Code $version into $place" >&2
    npm install --prefix "$place" --no-audit --no-fund --loglevel=error "@anthropic-ai/claude-code@$version" >&2 </dev/null
    "$bin/claude" --version >&2
fi
echo "$bin"
