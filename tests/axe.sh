#!/bin/sh
# Installs axe-core, which checks a page for accessibility, from the npm registry into a cache outside of the tree, and prints
# where its script is. Where it cannot be had, that check skips.
set -u
place=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/gitcoord/axe-core-4.14.1
script=$place/node_modules/axe-core/axe.min.js
if [ ! -s "$script" ]; then
    command -v npm >/dev/null || { echo "no npm: the accessibility check skips" >&2; exit 1; }
    mkdir -p "$place"
    npm install --prefix "$place" --no-audit --no-fund --loglevel=error axe-core@4.14.1 >&2 </dev/null || exit 1
fi
[ -s "$script" ] && echo "$script"
