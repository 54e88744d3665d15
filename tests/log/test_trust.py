"""Signed checkpoints: made with the user's own set-up, judged by this machine's keys, shown where it matters."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from byhand import allow, exchange, fetch, make_clones, make_key, push, sign_with
from clones import clone_id
from conftest import Cli, git, make_repo, nameless

from gitcoord import Coord, RepositoryError, UsageError
from gitcoord.log import trust
from gitcoord.log.event import Draft, Envelope, encode
from gitcoord.sessions.presence import register
from gitcoord.store import signing
from gitcoord.store.objects import Oid

Pair = tuple[Path, Path]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Two clones, ada's and bob's, that know of each other."""
    ada, bob = make_clones(tmp_path, "ada", "bob")
    exchange(ada, bob)
    return ada, bob


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path, "key")


def tell(where: Path, to: str, text: str, sign: bool = True) -> str:
    """Send from a clone, sign if that user does, and push."""
    with Coord.open(where) as coord:
        oid = coord.send(to, text).id
        if sign:
            trust.checkpoint(coord.clone)
    push(where)
    return oid


def state_of(where: Path, oid: str) -> str | None:
    with Coord.open(where) as coord:
        found = coord.trust.signatures([oid]).get(oid)
        return found.state if found else None


def said(cli: Cli, where: Path, *args: str) -> list[str]:
    """The first lines of the events in an output, without ids and names of clones."""
    ran = cli(where, *args)
    assert ran.code == 0, ran
    return [line for line in nameless(ran.out).replace(clone_id(where), "OWN").splitlines() if not line.startswith("  ")]


# sign


def test_a_checkpoint_covers_what_is_below_and_is_only_made_when_there_is_something(pair: Pair, key: Path) -> None:
    ada, _ = pair
    sign_with(ada, key)
    with Coord.open(ada) as coord:
        coord.notes.add("one")
        made = trust.checkpoint(coord.clone)
        assert made is not None and made.type == "checkpoint" and made.author == coord.clone.id
        assert trust.checkpoint(coord.clone) is None
        coord.notes.add("two")
        again = trust.checkpoint(coord.clone)
        assert again is not None and again.lc > made.lc
        assert coord.events.log(kind="checkpoint")[0] == again, "the index has what git has"
    raw = git(ada, "cat-file", "commit", made.id)
    assert "\ngpgsig -----BEGIN SSH SIGNATURE-----\n" in raw
    assert f"committer Ada Example <ada@example.org> {made.lc} +0000\n" in raw
    assert git(ada, "fsck", "--strict", "--no-dangling") == ""


def test_who_does_not_sign_pays_nothing(pair: Pair) -> None:
    ada, _ = pair
    with Coord.open(ada) as coord:
        coord.notes.add("one")
        assert trust.checkpoint(coord.clone) is None
        assert coord.events.log(kind="checkpoint") == []


@pytest.mark.parametrize(("gpgsign", "coord_sign", "signs"), [
    ("true", None, True), ("false", None, False), ("true", "false", False), ("false", "true", True), (None, "true", True),
])  # fmt: skip
def test_coord_sign_overrides_what_is_set_for_commits(
    pair: Pair, key: Path, gpgsign: str | None, coord_sign: str | None, signs: bool
) -> None:
    ada, _ = pair
    sign_with(ada, key)
    git(ada, "config", "--unset", "commit.gpgsign")
    for name, value in (("commit.gpgsign", gpgsign), ("coord.sign", coord_sign)):
        if value:
            git(ada, "config", name, value)
    with Coord.open(ada) as coord:
        coord.notes.add("one")
        assert (trust.checkpoint(coord.clone) is not None) == signs


def test_a_signature_that_cannot_be_made_says_why_and_writes_nothing(pair: Pair, tmp_path: Path) -> None:
    ada, _ = pair
    sign_with(ada, tmp_path / "no-such-key")
    with Coord.open(ada) as coord:
        coord.notes.add("one")
        before = git(ada, "for-each-ref")
        with pytest.raises(RepositoryError, match="cannot sign"):
            trust.checkpoint(coord.clone, prompt=False)
        assert git(ada, "for-each-ref") == before


def test_in_the_background_nobody_is_asked_for_a_passphrase(pair: Pair, tmp_path: Path) -> None:
    """On a terminal, where ssh-keygen would ask for it past every redirection."""
    ada, _ = pair
    key = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase", "-f", str(key)], check=True)
    sign_with(ada, key)
    script = (
        "import sys; from gitcoord import Coord, RepositoryError; from gitcoord.log import trust\n"
        "with Coord.open(sys.argv[1]) as coord:\n"
        "    coord.notes.add('one')\n"
        "    try: trust.checkpoint(coord.clone, prompt=False)\n"
        "    except RepositoryError as error: print('SAID', error.what)\n"
    )
    import pty

    said = bytearray()

    def read(fd: int) -> bytes:
        data = os.read(fd, 1024)
        said.extend(data)
        return data

    assert pty.spawn([sys.executable, "-c", script, str(ada)], read) == 0
    assert b"SAID cannot sign" in said and b"passphrase for" not in said, said.decode()


def test_who_writes_meanwhile_is_not_kept_waiting_by_a_slow_signature(
    pair: Pair, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, _ = pair
    sign_with(ada, key)
    real, asked = signing.sign, []

    def slow(*args: object, **kwargs: object) -> bytes:
        asked.append(1)
        with Coord.open(ada) as other:
            other.notes.add(f"meanwhile {len(asked)}")  # would wait for ever if the lock were held
        return real(*args, **kwargs)  # type: ignore[arg-type]

    with Coord.open(ada) as coord:
        coord.notes.add("one")
        monkeypatch.setattr(signing, "sign", lambda *a, **k: slow(*a, **k) if len(asked) < 2 else real(*a, **k))
        made = trust.checkpoint(coord.clone)
        assert made is not None and len(asked) == 2
        assert coord.events.log()[0].id == made.id, "it stands on top of what was written meanwhile"


# judge


def test_a_foreign_message_shows_who_signed_it(pair: Pair, key: Path, tmp_path: Path, cli: Cli) -> None:
    ada, bob = pair
    sign_with(ada, key)
    allow(bob, tmp_path / "allowed", ada=key)
    oid = tell(ada, "bob", "the schema is merged")
    fetch(bob)
    assert state_of(bob, oid) == "verified"
    assert said(cli, bob, "inbox", "--peek") == [f"ID from ada@{clone_id(ada)}, just now, signed by “ada@example.org”"]
    (shown,) = json.loads(cli(bob, "inbox", "--json").out)
    assert (shown["verified"], shown["signature"]) == ("ada@example.org", "verified")
    logged = json.loads(cli(bob, "log", "--json").out)
    assert {(e["type"], e["verified"]) for e in logged if e["clone"] == clone_id(ada)} >= {
        ("message", "ada@example.org"), ("checkpoint", "ada@example.org"), ("join", "ada@example.org")
    }  # fmt: skip
    assert {e["verified"] for e in logged if e["clone"] == clone_id(bob)} == {None}
    assert f"message  ada@{clone_id(ada)}, just now, signed by “ada@example.org”: the schema" in nameless(cli(bob, "log").out)


def test_nothing_is_said_where_nobody_signs(pair: Pair, cli: Cli) -> None:
    ada, bob = pair
    tell(ada, "bob", "hello")
    fetch(bob)
    assert said(cli, bob, "inbox", "--peek") == [f"ID from ada@{clone_id(ada)}, just now"]
    assert "verified" not in cli(bob, "log").out
    (shown,) = json.loads(cli(bob, "inbox", "--json").out)
    assert (shown["verified"], shown["signature"]) == (None, None)
    assert not (bob / ".git/coord/signatures").exists()


def test_without_the_key_a_signature_is_of_an_unknown_key_and_counts_once_that_is_allowed(
    pair: Pair, key: Path, tmp_path: Path, cli: Cli
) -> None:
    ada, bob = pair
    sign_with(ada, key)
    oid = tell(ada, "bob", "hello")
    fetch(bob)
    assert state_of(bob, oid) == "unknown"
    assert "signed by an unknown key SHA256:" in cli(bob, "inbox", "--peek").out
    allow(bob, tmp_path / "allowed", eve=make_key(tmp_path, "eves"))
    assert state_of(bob, oid) == "unknown"
    allow(bob, tmp_path / "allowed", ada=key)
    assert state_of(bob, oid) == "verified", "judged anew when the allowed signers change, at once"


def test_a_signature_over_something_else_is_bad(pair: Pair, key: Path, tmp_path: Path, cli: Cli) -> None:
    ada, bob = pair
    sign_with(ada, key)
    allow(bob, tmp_path / "allowed", ada=key)
    oid = tell(ada, "bob", "hello")
    ref = f"refs/coord/log/{clone_id(ada)}/0001"
    raw = git(ada, "cat-file", "commit", ref)
    forged = raw.replace("Signs the", "Signed: the", 1)
    done = subprocess.run(["git", "-C", str(ada), "hash-object", "-w", "-t", "commit", "--stdin"], input=forged, text=True,
                          capture_output=True, check=True)  # fmt: skip
    git(ada, "push", "-q", "-f", "origin", f"{done.stdout.strip()}:{ref}")
    fetch(bob)
    assert state_of(bob, oid) == "bad"
    assert "BAD SIGNATURE" in cli(bob, "inbox", "--peek").out
    assert f"trust   {clone_id(ada)}: its checkpoint has a bad signature" in cli(bob, "status").out
    assert cli(bob, "trust", "--accept", clone_id(ada)).code == 0
    assert "trust " not in cli(bob, "status").out and state_of(bob, oid) == "bad"
    (shown,) = json.loads(cli(bob, "inbox", "--json").out)
    assert (shown["verified"], shown["signature"]) == (False, "bad")


def test_what_comes_after_the_last_checkpoint_is_not_signed(pair: Pair, key: Path, tmp_path: Path, cli: Cli) -> None:
    ada, bob = pair
    sign_with(ada, key)
    allow(bob, tmp_path / "allowed", ada=key)
    signed, unsigned = tell(ada, "bob", "signed"), tell(ada, "bob", "not signed", sign=False)
    fetch(bob)
    assert (state_of(bob, signed), state_of(bob, unsigned)) == ("verified", "unsigned")
    assert "it signed with SHA256:" in cli(bob, "status").out and "1 event since then is not signed" in cli(bob, "status").out
    assert cli(bob, "trust", "--accept", clone_id(ada)).out.endswith("”\n"), "no warning is left"
    assert "trust " not in cli(bob, "status").out and state_of(bob, unsigned) == "unsigned"
    tell(ada, "bob", "signed again")
    fetch(bob)
    assert state_of(bob, unsigned) == "verified"
    tell(ada, "bob", "not signed again", sign=False)
    fetch(bob)
    assert "1 event since then is not signed" in cli(bob, "status").out, "accepted once is not for good"


def test_a_key_counts_as_of_the_authors_date_and_not_of_the_counter(pair: Pair, key: Path, tmp_path: Path) -> None:
    ada, bob = pair
    sign_with(ada, key)
    allowed = tmp_path / "allowed"
    public = key.with_suffix(".pub").read_text()
    git(bob, "config", "gpg.ssh.allowedSignersFile", str(allowed))
    oid = tell(ada, "bob", "hello")
    fetch(bob)
    allowed.write_text(f'ada@example.org valid-after="20200101" {public}')
    assert state_of(bob, oid) == "verified"
    allowed.write_text(f'ada@example.org valid-before="20200101" {public}')
    assert state_of(bob, oid) == "unknown"


def test_a_revoked_key_is_bad(pair: Pair, key: Path, tmp_path: Path) -> None:
    ada, bob = pair
    sign_with(ada, key)
    allow(bob, tmp_path / "allowed", ada=key)
    oid = tell(ada, "bob", "hello")
    fetch(bob)
    assert state_of(bob, oid) == "verified"
    (tmp_path / "revoked").write_text(key.with_suffix(".pub").read_text())
    git(bob, "config", "gpg.ssh.revocationFile", str(tmp_path / "revoked"))
    assert state_of(bob, oid) == "bad"


def test_a_judgement_is_made_once(pair: Pair, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob = pair
    sign_with(ada, key)
    allow(bob, tmp_path / "allowed", ada=key)
    oid = tell(ada, "bob", "hello")
    fetch(bob)
    assert state_of(bob, oid) == "verified"
    real, asked = signing.verify, []
    monkeypatch.setattr(signing, "verify", lambda *args: asked.append(1) or real(*args))
    assert state_of(bob, oid) == "verified" and asked == []
    (bob / ".git/coord/signatures").unlink()
    assert state_of(bob, oid) == "verified" and asked == [1]


# made to look signed


def forge(where: Path, kind: str, text: str, lc: int, clone: str, author: str, tree: str, **data: object) -> str:
    envelope = Envelope(lc, clone, "ada@example.org", "A <ada@example.org>", 1_700_000_000)
    raw = encode(Draft(kind, text, data, author=author), envelope, Oid(tree), None)
    return hash_object(where, "commit", raw)


def hash_object(where: Path, kind: str, data: bytes) -> str:
    argv = ["git", "-C", str(where), "hash-object", "-w", "-t", kind, "--stdin"]
    return subprocess.run(argv, input=data, capture_output=True, check=True).stdout.decode().strip()


def carrying(where: Path, *commits: str) -> str:
    """A tree as the root of an epoch has it."""
    lines = []
    for oid in sorted(commits):
        raw = subprocess.run(["git", "-C", str(where), "cat-file", "commit", oid], capture_output=True, check=True).stdout
        lines.append(f"100644 blob {hash_object(where, 'blob', raw)}\t{oid}\n")
    argv = ["git", "-C", str(where), "mktree"]
    return subprocess.run(argv, input="".join(lines).encode(), capture_output=True, check=True).stdout.decode().strip()


@pytest.mark.parametrize("how", ["continued", "in an epoch with a real checkpoint", "in epoch 0000"])
def test_nothing_forged_comes_below_a_real_signature(pair: Pair, key: Path, tmp_path: Path, cli: Cli, how: str) -> None:
    ada, bob = pair
    remote, own = tmp_path / "remote.git", clone_id(pair[0])
    sign_with(ada, key)
    allow(bob, tmp_path / "allowed", ada=key)
    real = tell(ada, "bob", "real")
    fetch(bob)
    assert state_of(bob, real) == "verified"
    checkpoint = git(remote, "rev-parse", f"refs/coord/log/{own}/0001").strip()
    empty = hash_object(remote, "tree", b"")
    forged = forge(remote, "message", "forged", 1, own, "ada", empty, to=[f"bob@{clone_id(bob)}"])
    if how == "continued":
        tree = carrying(remote, forged, checkpoint)
        root = forge(remote, "epoch", "x", 9, "eve-00000001", "eve-00000001", tree, continues=own, carried=2)
        git(remote, "update-ref", "refs/coord/log/eve-00000001/0001", root)
    elif how == "in an epoch with a real checkpoint":
        root = forge(remote, "epoch", "x", 9, own, own, carrying(remote, forged, checkpoint), carried=2, lowest=2)
        git(remote, "update-ref", f"refs/coord/log/{own}/0002", root)
    else:
        git(remote, "update-ref", f"refs/coord/log/{own}/0000", forged)
    fetch(bob)
    shown = {m["id"]: m for m in json.loads(cli(bob, "inbox", "--all", "--json").out)}
    found = shown[forged]["verified"] if forged in shown else "not taken"
    assert found == ("not taken" if how == "in epoch 0000" else False)
    git(bob, "config", "coord.requireSigned", "true")
    assert "forged" not in cli(bob, "inbox", "--again").out
    (bob / ".git/coord/index.sqlite").unlink()
    assert state_of(bob, forged) in ("unsigned", None)


# keys


def test_a_change_of_key_is_said_until_it_is_accepted(pair: Pair, key: Path, tmp_path: Path, cli: Cli) -> None:
    ada, bob = pair
    other = make_key(tmp_path, "other")
    sign_with(ada, key)
    allow(bob, tmp_path / "allowed", ada=key, eve=other)
    tell(ada, "bob", "by ada")
    fetch(bob)
    assert cli(bob, "inbox").err == ""
    sign_with(ada, other)
    oid = tell(ada, "bob", "by somebody else")
    fetch(bob)
    name = clone_id(ada)
    ran = cli(bob, "inbox")
    assert "signed by “eve@example.org”" in ran.out
    assert ran.err.startswith(f"warning: {name}: it signs with SHA256:")
    assert ran.err.endswith(f"if that is right: git coord trust --accept {name}\n")
    assert "(eve@example.org) now; it was SHA256:" in cli(bob, "status").out
    (signer,) = json.loads(cli(bob, "trust", "--json").out)
    assert signer["clone"] == name and signer["key"] != signer["known_key"] and len(signer["warnings"]) == 1
    assert cli(bob, "trust", "--accept", name).code == 0
    assert "trust " not in cli(bob, "status").out
    (signer,) = json.loads(cli(bob, "trust", "--json").out)
    assert signer["key"] == signer["known_key"] and signer["warnings"] == []
    assert state_of(bob, oid) == "verified"


def test_accepting_an_unknown_clone_is_a_usage_error(pair: Pair) -> None:
    with Coord.open(pair[1]) as coord, pytest.raises(UsageError, match="no other clone is called nobody-1"):
        coord.trust.accept("nobody-1")


# coord.requireSigned


def test_unsigned_mail_is_counted_and_not_shown_where_signatures_are_required(
    pair: Pair, key: Path, tmp_path: Path, cli: Cli
) -> None:
    ada, bob = pair
    allow(bob, tmp_path / "allowed", ada=key)
    git(bob, "config", "coord.requireSigned", "true")
    with Coord.open(ada) as coord:
        coord.notes.add("a note of ada's")
    tell(ada, "bob", "unsigned")
    with Coord.open(bob) as coord:
        coord.send("bob", "from this clone")
        coord.notes.add("a note of bob's")
    fetch(bob)
    brief = cli(bob, "brief").out
    assert "a note of ada's" not in brief and "> unsigned" not in brief
    ran = cli(bob, "inbox")
    assert "from this clone" in ran.out and "unsigned" not in ran.out
    assert ran.err == "note: 1 unsigned message of other clones not shown (coord.requireSigned): git coord inbox --all\n"
    ran = cli(bob, "inbox")
    assert ran.out == "No new messages.\n" and ran.err.startswith("note: 1 unsigned")
    ran = cli(bob, "inbox", "--all", "--peek")
    assert "not signed\n  > unsigned" in ran.out
    assert cli(bob, "status", "--short").out == "bob, 1 peer\n"
    sign_with(ada, key)
    tell(ada, "bob", "and now signed")
    fetch(bob)
    ran = cli(bob, "inbox")
    assert "unsigned" in ran.out and "and now signed" in ran.out, "the checkpoint covers both"
    assert ran.err == ""
    assert "a note of ada's" in cli(bob, "brief").out


def test_unsigned_urgent_mail_rings_no_bell_and_a_stranger_has_a_strangers_name(pair: Pair, key: Path, tmp_path: Path) -> None:
    ada, bob = pair
    rung = tmp_path / "rung"
    os.mkfifo(rung)
    git(bob, "config", "coord.notify", f"cat >'{rung}' -- - #")
    with Coord.open(bob) as coord:
        box = f"bobby@{coord.clone.id}"
        register(coord.clone, coord.identity._replace(name="bobby", person=True, record=None))
        coord.remote.sync()
    allow(bob, tmp_path / "allowed", ada=key)
    git(bob, "config", "coord.requireSigned", "true")
    with Coord.open(ada) as coord:
        coord.remote.sync()
        coord.send(box, "unsigned", urgent=True)
        coord.remote.sync()
    with Coord.open(bob) as coord:
        coord.remote.sync()
    sign_with(ada, key)
    with Coord.open(ada) as coord:
        coord.send(box, "signed", urgent=True)
        coord.remote.sync()
    with Coord.open(bob) as coord:
        coord.remote.sync()
    assert json.loads(rung.read_text())["line"] == f"ada@{clone_id(ada)}: signed"


def test_unsigned_tasks_and_locks_are_marked_and_not_put_forward(pair: Pair, key: Path, tmp_path: Path, cli: Cli) -> None:
    ada, bob = pair
    allow(bob, tmp_path / "allowed", ada=key)
    git(bob, "config", "coord.requireSigned", "true")
    with Coord.open(bob) as coord:
        own = coord.tasks.add("a task of bob's", priority=4).id
        coord.remote.sync()
    with Coord.open(ada) as coord:
        coord.remote.sync()
        task = coord.tasks.add("a task of ada's", priority=0, assignee=f"bob@{clone_id(bob)}").id
        coord.tasks.comment(own, "do it my way")
        coord.locks.take(["a.txt"], reason="a lock of ada's")
        coord.notes.add("ada's own words")
        coord.sessions.focus("ada's focus")
        coord.remote.sync()
    fetch(bob)
    (bob / "a.txt").write_text("x")
    git(bob, "add", "a.txt")

    brief = cli(bob, "brief").out
    assert "ada's" not in brief and "my way" not in brief and "a task of bob's" in brief
    assert "left out: 1 in tasks (git coord tasks --mine), 1 in locks (git coord locks)" in brief
    assert cli(bob, "task", "next").out.startswith(own[:10])
    assert cli(bob, "status", "--short").out == "bob, 1 peer, 1 ready\n"
    assert cli(bob, "task", "done", own).code == 0
    ran = cli(bob, "task", "next")
    assert (ran.code, ran.out) == (1, "")
    assert (
        ran.err == "No task is ready.\nnote: 1 unsigned task of other clones left out (coord.requireSigned): git coord tasks\n"
    )
    assert cli(bob, "task", "next", "--claim").code == 1
    assert cli(bob, "status", "--short").out == "bob, 1 peer\n" and "ready" not in cli(bob, "status").out
    assert cli(bob, "hook", "pre-commit").err == ""
    lists = [cli(bob, *words).out for words in (["tasks"], ["locks"], ["check", "a.txt"])]
    assert [out.count("(not signed)") for out in lists] == [1, 1, 1]
    assert [cli(bob, "task", "show", one).err for one in (task, own)] == 2 * [
        "note: some of these words are not signed: git coord log\n"
    ]
    assert cli(bob, "task", "claim", task).code == 0, "asked for by its id"

    sign_with(ada, key)
    tell(ada, "bob", "and now signed")
    fetch(bob)
    assert cli(bob, "task", "release", task).code == 0
    assert cli(bob, "task", "next").out.startswith(task[:10])
    assert "a task of ada's" in cli(bob, "brief").out and "a.txt" in cli(bob, "hook", "pre-commit").err
    assert "not signed" not in cli(bob, "tasks").out + cli(bob, "locks").out


@pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")
class TestOpenPgp:
    @pytest.fixture
    def gnupg(self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        home = tmp_path_factory.mktemp("g", numbered=True)
        home.chmod(0o700)
        monkeypatch.setenv("GNUPGHOME", str(home))
        make = [
            "gpg",
            "--batch",
            "-q",
            "--passphrase",
            "",
            "--quick-generate-key",
            "Ada Example <ada@example.org>",
            "ed25519",
            "sign",
        ]
        subprocess.run(make, check=True, capture_output=True)
        yield home
        subprocess.run(["gpgconf", "--kill", "all"], check=False)

    def test_an_openpgp_signature_is_judged_by_git(self, pair: Pair, gnupg: Path, cli: Cli, tmp_path: Path) -> None:
        ada, bob = pair
        git(ada, "config", "commit.gpgsign", "true")
        oid = tell(ada, "bob", "hello")
        fetch(bob)
        assert "gpgsig -----BEGIN PGP SIGNATURE-----" in git(
            ada, "log", "-1", "--format=raw", f"refs/coord/log/{clone_id(ada)}/0001"
        )
        assert state_of(bob, oid) == "verified"
        assert "signed by “Ada Example <ada@example.org>”" in cli(bob, "inbox", "--peek").out
        (bob / ".git/coord/signatures").unlink()
        stranger = tmp_path / "stranger"
        stranger.mkdir(mode=0o700)
        env = {**os.environ, "GNUPGHOME": str(stranger)}
        with Coord.open(bob, environ=env) as coord:
            assert coord.trust.signatures([oid])[oid].state == "unknown"

    @pytest.fixture
    def mine(self, gnupg: Path) -> Iterator[Path]:
        """The keyring of another user."""
        home = gnupg.with_name("g-bob")
        home.mkdir(mode=0o700)
        yield home
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)

    def test_a_key_that_arrives_expires_or_is_revoked_is_seen_at_once(self, pair: Pair, gnupg: Path, mine: Path) -> None:
        ada, bob = pair
        git(ada, "config", "commit.gpgsign", "true")
        oid = tell(ada, "bob", "hello")
        fetch(bob)

        def gpg(*args: str, home: Path = gnupg, stdin: bytes = b"") -> bytes:
            argv = ["gpg", "--batch", "--yes", "-q", "--passphrase", "", "--homedir", str(home), *args]
            return subprocess.run(argv, input=stdin, check=True, capture_output=True).stdout

        def judged() -> str:
            with Coord.open(bob, environ={**os.environ, "GNUPGHOME": str(mine)}) as coord:
                return coord.trust.signatures([oid])[oid].state

        def import_keys() -> None:
            gpg("--import", home=mine, stdin=gpg("--export"))

        (key,) = re.findall(r"^fpr:+(\w+):", gpg("--list-keys", "--with-colons").decode(), re.MULTILINE)
        assert judged() == "unknown"
        import_keys()
        assert judged() == "verified"
        git(bob, "config", "gpg.minTrustLevel", "fully")
        assert judged() == "unknown", "nobody here vouches for the key"
        git(bob, "config", "--unset", "gpg.minTrustLevel")
        assert judged() == "verified"
        gpg("--quick-set-expire", key, "1y")
        (mine / "gpg.conf").write_text("faked-system-time 20990101T000000\n")
        import_keys()
        assert judged() == "unknown", "the signature holds"
        revocation = (gnupg / f"openpgp-revocs.d/{key}.rev").read_bytes().replace(b":-----BEGIN", b"-----BEGIN")
        gpg("--import", home=mine, stdin=revocation)
        assert judged() == "bad"


def test_a_sha256_repository_is_signed_and_redacted_alike(tmp_path: Path, key: Path) -> None:
    repo = make_repo(tmp_path / "sha256", "--object-format=sha256")
    sign_with(repo, key)
    with Coord.open(repo) as coord:
        coord.sessions.join("w1")
        gone, kept = coord.notes.add("gone"), coord.notes.add("kept")
        made = trust.checkpoint(coord.clone)
        assert made is not None
        (raw,) = coord.clone.store.read([made.id])
        assert b"\ngpgsig-sha256 -----BEGIN SSH SIGNATURE-----\n" in raw.data
        found = signing.verify(coord.clone.repo, made.id, raw.data, made.at)
        assert found is not None and (found.state, found.key[:7]) == ("unknown", "SHA256:")
        allow(repo, tmp_path / "allowed", ada=key)
        found = signing.verify(coord.clone.repo, made.id, raw.data, made.at)
        assert found is not None and (found.state, found.by) == ("verified", "ada@example.org")
        coord.events.redact(gone)
        assert [n.id for n in coord.notes.list()] == [kept]
        assert trust.checkpoint(coord.clone) is not None
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""
