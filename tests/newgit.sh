#!/bin/sh
# Print the path of a git of 2.48 or newer, for the tests of reftable and relative worktrees: the one named in
# GITCOORD_NEW_GIT, the one on PATH, or one built from Debian's newest source package (about three minutes, once; kept
# in ~/.cache/gitcoord). Where none can be had, say why on stderr and exit 1; the tests that need it then skip.
set -u
cache=${XDG_CACHE_HOME:-$HOME/.cache}/gitcoord/git
log=$cache/build.log

new_enough() {
    "$1" --version 2>/dev/null | awk '{ split($3, v, "."); new = v[1] > 2 || (v[1] == 2 && v[2] >= 48) } END { exit !new }'
}

give_up() {
    echo "no newer git for the tests: $1" >&2
    exit 1
}

for git in "${GITCOORD_NEW_GIT:-}" "$(command -v git)" "$cache/bin/git"; do
    if [ -n "$git" ] && new_enough "$git"; then
        echo "$git"
        exit 0
    fi
done

for tool in apt-get make gcc tar; do
    command -v "$tool" >/dev/null || give_up "$tool is not installed"
done
mkdir -p "$cache/build" || give_up "$cache cannot be written"
cd "$cache/build" || exit 1
[ -e ../failed ] && [ -n "$(find ../failed -mmin -1440)" ] && give_up "building it failed lately, see $log"

# Our own sources and lists, so that the machine's apt stays as it is and root is not needed.
mkdir -p apt/lists/partial apt/cache/archives/partial
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keyring" ] || give_up "$keyring is missing (not a Debian?)"
mirror=${DEBIAN_MIRROR:-$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\(http[^ ]*\) .*/\2/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security | head -1)}
echo "deb-src [signed-by=$keyring] ${mirror:-http://deb.debian.org/debian} sid main" >apt/sources.list
set -- -o "Dir::Etc::SourceList=$PWD/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$PWD/apt/lists" \
    -o "Dir::Cache=$PWD/apt/cache" -o APT::Get::List-Cleanup=false -o Debug::NoLocking=true -o Acquire::Languages=none
echo "building a newer git into $cache, see $log" >&2
(
    timeout 90 apt-get "$@" -q update &&
        timeout 90 apt-get "$@" -q --download-only --only-source source git &&
        tar xf git_*.orig.tar.* && cd git-*/ &&
        timeout 600 make -j"$(nproc)" prefix="$cache" NO_RUST=1 NO_CURL=1 NO_EXPAT=1 NO_OPENSSL=1 NO_GETTEXT=1 NO_GITWEB=1 \
            NO_PERL=1 NO_PYTHON=1 NO_TCLTK=1 NO_INSTALL_HARDLINKS=1 INSTALL_STRIP=-s CFLAGS="-O1 -g0" install
) >"$log" 2>&1
if new_enough "$cache/bin/git"; then
    rm -rf "$cache/build"
    echo "$cache/bin/git"
else
    touch "$cache/failed"
    give_up "building it failed: $(tail -n 1 "$log")"
fi
