"""The network, through git alone, with the credentials, ssh configuration and proxies that the user set up.

A remote keeps our refs below a prefix, `refs/coord/` unless a host wants another; locally they are always below
`refs/coord/`. Every call names its refs outright: no setting of the user's adds refs or prunes any.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence

from gitcoord.errors import RemoteError
from gitcoord.lean import TYPE_CHECKING, NamedTuple, re, suppress
from gitcoord.store import failures, refs
from gitcoord.store.failures import BadObjects, NotAtomic
from gitcoord.store.objects import Oid
from gitcoord.store.ref_lock import RefLocked
from gitcoord.store.ref_names import NAMESPACE, RETIRED, is_lease, is_local, is_log, is_ours, is_presence
from gitcoord.store.repository import Repository
from gitcoord.system.spawn import Result

if TYPE_CHECKING:
    import subprocess

LOOK_TIMEOUT, QUIET_TIMEOUT, TIMEOUT = 60.0, 120.0, 900.0
"""Seconds after which a git without a person at a terminal is ended: for a look at the refs, in the background,
otherwise."""
BUSY_PAUSE = 1.5
"""Seconds before a busy host is asked once more."""
_MOVED = (
    "stale info", "fetch first", "non-fast-forward", "cannot lock ref", "incorrect old value", "failed to update ref",
    "reference already exists", "failed to lock", "remote ref updated since checkout", "needs force",
)  # fmt: skip


class Remote(NamedTuple):
    """The place of coordination: a configured remote's name or a URL, and the prefix of our refs there."""

    name: str
    prefix: str = NAMESPACE

    def there(self, ref: str) -> str:
        """The name of a ref of ours at the remote."""
        return self.prefix + ref.removeprefix(NAMESPACE)

    def here(self, ref: str) -> str | None:
        """Our name of a ref of the remote; None for one that is not of this format."""
        if not ref.startswith(self.prefix):
            return None
        local = NAMESPACE + ref.removeprefix(self.prefix)
        return local if is_lease(local) or (is_ours(local) and not is_local(local)) else None


class How:
    """The ways to push a ref. (A lease and `+` together would force the push: git looks at the `+` first.)"""

    FORWARD = "forward"
    """Move forward only."""
    REPLACE = "replace"
    """Replace the ref, whatever its value."""
    SWAP = "swap"
    """Replace the ref only if it has the value `expected`: compare-and-swap."""


class Update(NamedTuple):
    """One ref to be pushed: `new` None deletes it. `expected` is for a SWAP; None: there must be no such ref."""

    ref: str
    new: Oid | None
    how: str = How.FORWARD
    expected: Oid | None = None


class Outcome(NamedTuple):
    """The outcome of an update: `done`, `moved` (another push was first) or `refused`, with the remote's words."""

    ref: str
    state: str
    why: str = ""


def remote_names(repo: Repository) -> list[str]:
    """The remotes that are configured."""
    result = repo.git("remote")
    if result.code:
        raise refs.failure(repo, "cannot list the remotes", result)
    return result.out.decode("utf-8", "replace").split()


def remote_url(repo: Repository, name: str) -> str:
    """The URL to which a remote is pushed (the first, if there are several); a URL is its own answer."""
    return push_urls(repo, name)[0]


def push_urls(repo: Repository, name: str) -> list[str]:
    """Every place that a push to `name`, a remote or a URL, goes to, after the user's `insteadOf` and `pushInsteadOf`."""
    known = repo.git("remote", "get-url", "--push", "--all", name)
    if known.code == 0:
        return os.fsdecode(known.out).split("\n")[:-1] or [name]
    asked = "gitcoord-asks"  # git rewrites URLs of configured remotes only
    listed = os.fsdecode(repo.git("-c", f"remote.{asked}.url={name}", "remote", "-v").out).split("\n")
    start, end = f"{asked}\t", " (push)"
    return [line[len(start) : -len(end)] for line in listed if line.startswith(start) and line.endswith(end)] or [name]


class _Route(NamedTuple):
    """The way to a remote. `place` is its name; or its URL, if fetches and pushes would otherwise go to different
    places."""

    place: str
    ssh: str
    """The user's core.sshCommand."""
    partial: bool
    """Whether this clone leaves objects at a remote (a partial clone). It must have our attachments all the same."""
    hooks: bool
    """Whether the user's pre-push hook runs. Asked with each push: the process may be older than the setting."""


def _route(repo: Repository, name: str) -> _Route:
    """The way to a remote, by the user's configuration as git will see it."""
    pattern = r"^(remote\..*\.(url|pushurl|promisor)|core\.sshcommand|coord\.hooks)$"
    found = repo.git("config", "-z", "--get-regexp", pattern, env=_given(repo))
    entries = [entry.split("\n", 1) for entry in os.fsdecode(found.out).split("\0") if "\n" in entry]
    urls, pushed = ([url for key, url in entries if key == f"remote.{name}.{end}"] for end in ("url", "pushurl"))
    place = name if len(urls) < 2 and not pushed else [*pushed, *urls][0]
    ssh = [value for key, value in entries if key == "core.sshcommand"]
    asked = [value.lower() in ("", "true", "yes", "on", "1") for key, value in entries if key == "coord.hooks"]
    partial = any(key.endswith(".promisor") for key, _ in entries)
    return _Route(place, ssh[-1].strip() if ssh else "", partial, asked[-1] if asked else repo.flag("hooks"))


def _given(repo: Repository) -> dict[str, str]:
    """Settings of `git -c`, which git hands down in the environment."""
    return {k: v for k, v in repo.environ.items() if k.startswith("GIT_CONFIG_")}


class PendingLook(NamedTuple):
    """A `git ls-remote` that is running; the caller can do other work until `answer`."""

    name: str
    started: _Started


def start_look(repo: Repository, name: str, quiet: bool = False) -> PendingLook:
    """Ask a remote for its refs."""
    route = _route(repo, name)
    return PendingLook(name, _start(repo, route, ["ls-remote", "--quiet", "--refs", "--", route.place], quiet))


def list_remote(repo: Repository, name: str, quiet: bool = False) -> dict[str, Oid]:
    """Every ref of a remote. Raises RemoteError."""
    return answer(start_look(repo, name, quiet))


def answer(look: PendingLook) -> dict[str, Oid]:
    """Every ref that the remote has. Raises RemoteError."""
    result = _finish(look.started)
    if result.code:
        raise failures.unreachable(look.name, result)
    lines = (line.split("\t", 1) for line in result.out.decode("utf-8", "replace").splitlines())
    return {line[1]: Oid(line[0]) for line in lines if len(line) == 2}


def give_up(look: PendingLook) -> None:
    """End the look; its answer is not needed any more."""
    _kill(look.started)


ALLOC_LIMIT = "512m"
"""The memory that a git which fetches may ask for at once: as much as an index of 5,000,000 objects needs. A commit of
600 MiB of one letter has 600 KiB in a pack, and git would inflate it whole. Blobs it streams from BIG_FILE on."""
BIG_FILE = "16m"
AT_ONCE = 1000
"""Refs for one `git fetch`: it compares each with each, and takes 14 s for 5,000 of them."""


SINGLE = ("-c", "fetch.unpackLimit=1000000")
_BOUNDED = ("-c", "fetch.fsckObjects=true", "-c", f"core.bigFileThreshold={BIG_FILE}")


def fetch(repo: Repository, remote: Remote, refs: Sequence[str], quiet: bool = False) -> None:
    """Bring `refs` (under their local names) up to date; a log that does not continue ours stays as it is. Of presence, only
    the objects are fetched.

    The refs show which ones moved. Raises BadObjects when git-fsck(1) would complain about the objects (then nothing
    came), RefLocked where a lock file lies in the way of a ref, RemoteError when the remote could not be reached at all.
    """
    for start in range(0, len(refs), AT_ONCE):
        _fetch(repo, remote, refs[start : start + AT_ONCE], quiet)


def _fetch(repo: Repository, remote: Remote, refs: Sequence[str], quiet: bool) -> None:
    route = _route(repo, remote.name)
    # --no-show-forced-updates, or the user's setting of it, would also disable the check that a log continues
    specs = [_spec(remote, ref) for ref in refs]
    single = SINGLE if all(map(is_presence, refs)) else ()
    argv = [
        *_BOUNDED, *single, "fetch", "--quiet", "--no-tags", "--no-prune", "--no-write-fetch-head", "--no-recurse-submodules",
        "--no-auto-gc", "--no-write-commit-graph", "--show-forced-updates", "--refmap=", *_whole(route), "--stdin", route.place,
    ]  # fmt: skip
    result = _network(repo, route, argv, "".join(f"{spec}\n" for spec in specs).encode(), quiet)
    _refuse_bad_objects(remote, result)
    if result.code and (result.code != 1 or "fatal:" in result.error_text):  # 1: some refs were not moved
        raise failures.unreachable(remote.name, result)
    locks = (os.path.join(repo.common_dir, f"{ref}.lock") for ref in refs) if result.code else ()
    for lock in locks:  # matched against the refs we asked for: part of the output is the remote's text
        if os.path.lexists(lock) and lock in result.error_text:
            raise RefLocked(lock)


def _spec(remote: Remote, ref: str) -> str:
    """Logs and the list of retired clones only grow, tables of leases are replaced, and presence has no ref here."""
    if is_presence(ref):
        return remote.there(ref)
    return f"{'' if is_log(ref) or ref == RETIRED else '+'}{remote.there(ref)}:{ref}"


def _refuse_bad_objects(remote: Remote, result: Result) -> None:
    if result.code and failures.sent_bad_objects(result):
        raise BadObjects(f"git rejects objects of {remote.name}: {failures.last_words(result)}", "git coord status")


def fetch_all(repo: Repository, remote: Remote, kinds: Sequence[str], quiet: bool = False) -> None:
    """Fetch the objects of all `kinds` of refs (`log`, `presence`) at once: for a first sync with thousands of clones. No ref
    moves: a dry run brings the objects, and if a git should not, they are missing afterwards. Raises BadObjects,
    RemoteError."""
    for kind in kinds:
        spec = f"+{remote.there(NAMESPACE + kind)}/*:{NAMESPACE}{kind}/*"
        _fetch_without_refs(repo, remote, ["--dry-run", "--refmap="], spec, quiet, SINGLE if kind == "presence" else ())


def fetch_objects(repo: Repository, remote: Remote, ref: str, quiet: bool = False) -> None:
    """Fetch the objects behind a ref of the remote, without moving a ref of ours. Raises BadObjects, RemoteError."""
    _fetch_without_refs(repo, remote, [], remote.there(ref), quiet)


def _fetch_without_refs(
    repo: Repository, remote: Remote, options: Sequence[str], spec: str, quiet: bool, settings: Sequence[str] = ()
) -> None:
    argv = [*_BOUNDED, *settings, "fetch", *options, "--quiet", "--no-tags", "--no-prune", "--no-write-fetch-head"]
    argv += ["--no-recurse-submodules", "--no-auto-gc"]
    route = _route(repo, remote.name)
    result = _network(repo, route, [*argv, *_whole(route), "--", route.place, spec], quiet=quiet)
    _refuse_bad_objects(remote, result)
    if result.code:
        raise failures.unreachable(remote.name, result)


def push(
    repo: Repository, remote: Remote, updates: Sequence[Update], quiet: bool = False, atomic: bool = False
) -> list[Outcome]:
    """Push refs independently: if one is refused, the others go. `atomic`: all or none. Raises NotAtomic where the remote
    does not support that, RemoteError."""
    route = _route(repo, remote.name)
    specs, leases = [], []
    for update in updates:
        there = remote.there(update.ref)
        if update.how == How.SWAP:
            leases.append(f"--force-with-lease={there}:{update.expected or ''}")
        specs.append(f"{'+' if update.how == How.REPLACE and update.new else ''}{update.new or ''}:{there}")
    argv = [
        "push", "--porcelain", "--verify" if route.hooks else "--no-verify", "--no-signed", "--no-follow-tags",
        "--recurse-submodules=no", *(["--atomic"] if atomic else []), *leases, "--", route.place, *specs,
    ]  # fmt: skip
    result = _network(repo, route, argv, quiet=quiet)
    if result.code and "does not support --atomic" in result.error_text:
        raise NotAtomic(f"{remote.name} does not support atomic pushes", f"git push --dry-run {remote.name}")
    found = _outcomes(remote, result)
    if result.code and route.hooks and not found and "fatal:" not in result.error_text:
        said = [line.strip() for line in result.error_text.splitlines() if line.strip() and "failed to push" not in line]
        what = f"your pre-push hook refused the push to {remote.name}" + "".join(f": {line[:200]}" for line in said[-1:])
        raise RemoteError(what, "git config coord.hooks false")
    if result.code and len(found) < len(updates):
        raise failures.unwritable(remote.name, remote.prefix, result)
    return found


def _outcomes(remote: Remote, result: Result) -> list[Outcome]:
    """The outcome of each ref in `git push --porcelain`. A ref that the remote rejects as no fast-forward will never be
    taken."""
    found = []
    for line in result.out.decode("utf-8", "replace").splitlines():
        parts = line.split("\t")
        if len(parts) != 3 or len(parts[0]) != 1:
            continue
        ref = remote.here(parts[1].rpartition(":")[2]) or parts[1]
        why = parts[2]
        lost = any(said in why for said in _MOVED) and not ("[remote rejected]" in why and "non-fast-forward" in why)
        state = "done" if parts[0] != "!" else "moved" if lost else "refused"
        found.append(Outcome(ref, state, _reason(why, result) if state != "done" else ""))
    return found


def _reason(why: str, result: Result) -> str:
    """The reason why a ref was rejected; from a hook, in the hook's words."""
    match = re.search(r"\((.*)\)$", why)
    reason = match[1] if match else why
    told = [line.removeprefix("remote:").strip() for line in result.error_text.splitlines() if line.startswith("remote:")]
    if "unpacker error" in reason:  # the words of the git at the other side are part of the output
        return next((line[:200].removeprefix("fatal: ") for line in told if line.startswith(("fatal:", "error:"))), reason)
    return next((line[:200] for line in told if line), reason) if "hook declined" in reason else reason


def _whole(route: _Route) -> list[str]:
    """Settings with which also a partial clone fetches our attachments."""
    return ["--no-filter"] if route.partial else []


def _network(repo: Repository, route: _Route, args: Sequence[str], stdin: bytes = b"", quiet: bool = False) -> Result:
    """Run a git that talks to a remote; with `quiet` it asks nobody, and ends within a time limit."""
    result = _finish(_start(repo, route, args, quiet), stdin)
    if failures.is_busy(result):
        time.sleep(BUSY_PAUSE)
        result = _finish(_start(repo, route, args, quiet), stdin)
    return result


class _Started(NamedTuple):
    """A running git that talks to a remote. `patience` in seconds; None if a person is at the terminal."""

    child: subprocess.Popen[bytes]
    patience: float | None


def _directory(repo: Repository) -> str:
    """The directory to which paths of remotes are relative: the worktree. A process in the background runs in none, and
    takes the main one."""
    if repo.worktree or os.path.basename(repo.common_dir) != ".git":
        return repo.worktree or repo.common_dir
    return os.path.dirname(repo.common_dir)


def _start(repo: Repository, route: _Route, args: Sequence[str], quiet: bool) -> _Started:
    import subprocess

    calm = [
        "-c", "core.warnAmbiguousRefs=false", "-c", "core.logAllRefUpdates=false",
        "-c", "push.pushOption=", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
    ]  # fmt: skip
    if re.fullmatch(r"[A-Za-z0-9][\w./-]*", name := route.place) and ":" not in name:
        calm += ["-c", f"remote.{name}.mirror=false", "-c", f"remote.{name}.tagOpt=--no-tags"]
    if args[0] != "push" or not route.hooks:
        calm += ["-c", "core.hooksPath=" + os.devnull, *repo.hooks_off()]
    argv = ["git", f"--git-dir={repo.common_dir}", *calm, *args]
    watched = not quiet and os.isatty(0)
    child = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=_directory(repo),
        env={
            **({"GIT_ALLOC_LIMIT": ALLOC_LIMIT} if args[: len(_BOUNDED)] == [*_BOUNDED] else {}),
            **_environment(repo, route, quiet, watched),
        },
        start_new_session=not watched,
    )
    patience = LOOK_TIMEOUT if args[0] == "ls-remote" else QUIET_TIMEOUT if quiet else TIMEOUT
    return _Started(child, None if watched else patience)


def _memory(args: Sequence[str]) -> Mapping[str, str]:
    """The memory limit for a git that fetches. A listing and a push read no objects of others."""
    return {"GIT_ALLOC_LIMIT": ALLOC_LIMIT} if tuple(args[: len(_BOUNDED)]) == _BOUNDED else {}


def _kill(started: _Started) -> None:
    import signal

    child, patience = started
    if sys.platform != "win32" and patience is not None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # a session of its own: the transport's children go, too
    else:
        child.kill()
    child.communicate()


def _finish(started: _Started, stdin: bytes = b"") -> Result:
    import subprocess

    child, patience = started
    try:
        out, err = child.communicate(stdin, patience)
    except BaseException as error:
        _kill(started)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        return Result(128, b"", f"fatal: timed out after {patience:.0f} s".encode())
    code = child.returncode
    return Result(code if code >= 0 else 128 - code, out, err)


def _environment(repo: Repository, route: _Route, quiet: bool, watched: bool) -> Mapping[str, str]:
    """The user's environment, with the settings of `git -c`. git may ask on a terminal only if a person is there, and in a
    window only in the foreground."""
    env = {**repo.online_env, **_given(repo)}
    if watched:
        env.pop("GIT_TERMINAL_PROMPT", None)
        return env
    if quiet:
        env |= {"GIT_ASKPASS": "", "SSH_ASKPASS": "", "SSH_ASKPASS_REQUIRE": "never", "GCM_INTERACTIVE": "never"}
    return env if env.get("SSH_ASKPASS") else {**env, **_silent_ssh(route, env)}


def _silent_ssh(route: _Route, env: Mapping[str, str]) -> Mapping[str, str]:
    """Keep OpenSSH from asking: it opens the terminal even without standard input. Other ssh programs are left as they
    are."""
    command = env.get("GIT_SSH_COMMAND") or route.ssh
    if not command and env.get("GIT_SSH"):
        return {}
    command = command or "ssh"
    program = os.path.basename(command.split()[0].strip("'\"")).removesuffix(".exe")
    return {"GIT_SSH_COMMAND": f"{command} -o BatchMode=yes -o ConnectTimeout=20"} if program == "ssh" else {}
