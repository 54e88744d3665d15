"""Attacks with the list of retired clones, which everybody who may push can write to, and which nobody signs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from clones import clone_id
from conftest import Cli, git
from test_trust_attacks import MALLORY, Item, Mallory, box_of, clones, log, mallory, shown, sync

from gitcoord import Coord
from gitcoord.log.apart import retired
from gitcoord.store.ref_names import RETIRED

__all__ = ["clones", "mallory"]


def enlist(mallory: Mallory, logs: Mapping[str, str], *before: str) -> str:
    """A commit on the list of the remote, after those `before`."""
    above = "".join(f"\nparent {oid}" for oid in dict.fromkeys([*before, *logs.values()]))
    raw = mallory.raw(mallory.commit(MALLORY, MALLORY, "retired", 50, "retired", {"logs": dict(logs)})).decode()
    oid = hash_commit(mallory, raw.replace("\nauthor", f"{above}\nauthor", 1))
    mallory.put(RETIRED, oid)
    return oid


def hash_commit(mallory: Mallory, raw: str) -> str:
    from byhand import write_object

    return write_object(mallory.remote, "commit", raw.encode())


def forged(mallory: Mallory, where: Path, *items: Item, on: str = "") -> str:
    """The tip of a log in the name of the clone at `where`, on no ref."""
    parent = on
    for number, (author, kind, text, data) in enumerate(items):
        parent = mallory.commit(clone_id(where), author, kind, 500 + number, text, data, parent)
    return parent


def take_off(mallory: Mallory, of: str) -> None:
    """Delete every ref of a clone at the remote."""
    for ref in git(mallory.remote, "for-each-ref", "--format=%(refname)", "refs/coord").split():
        if f"/{of}/" in ref:
            git(mallory.remote, "update-ref", "-d", ref)


def listed(where: Path) -> Mapping[str, str]:
    with Coord.open(where) as coord:
        return coord.clone.store.listed(coord.clone.store.git.tips().refs[RETIRED])


@pytest.fixture
def forgery(clones: tuple[Path, Path], mallory: Mallory) -> str:
    """A tip on top of Ada's log, with a message to Bob and Ada's goodbye."""
    ada, bob = clones
    message: Item = ("ada", "message", "FORGED", {"to": [box_of(bob, "bob")], "urgent": True})
    return forged(mallory, ada, message, ("ada", "leave", "bye", {"session": "ada"}), on=mallory.tip(log(clone_id(ada))))


def test_a_clone_that_is_at_work_is_not_retired_by_a_list(
    clones: tuple[Path, Path], mallory: Mallory, cli: Cli, forgery: str
) -> None:
    ada, bob = clones
    enlist(mallory, {log(clone_id(ada)): forgery})
    sync(bob)
    assert shown(cli, bob, "FORGED") is None
    assert "active" in cli(bob, "sessions").out.splitlines()[-1]
    assert cli(ada, "send", box_of(bob, "bob"), "still here").code == 0
    sync(ada)
    sync(bob)
    found = shown(cli, bob, "still here")
    assert found and found["signature"] == "verified"
    assert cli(bob, "status").out.count("trust") == 0


def test_the_refs_of_a_clone_stay_unless_the_list_keeps_all_that_is_here_of_it(
    clones: tuple[Path, Path], mallory: Mallory, cli: Cli
) -> None:
    ada, bob = clones
    assert cli(ada, "note", "what Ada said").code == 0
    sync(ada)
    sync(bob)
    before = git(bob, "for-each-ref", "refs/coord/log")
    tip = mallory.tip(log(clone_id(ada)))
    enlist(mallory, {log(clone_id(ada)): git(mallory.remote, "rev-parse", f"{tip}~1").strip()})
    take_off(mallory, clone_id(ada))
    sync(bob)
    assert git(bob, "for-each-ref", "refs/coord/log") == before
    assert "what Ada said" in cli(bob, "notes").out


def test_the_log_of_a_retired_clone_is_the_first_that_was_listed(
    clones: tuple[Path, Path], mallory: Mallory, cli: Cli, tmp_path: Path
) -> None:
    ada, bob = clones
    assert cli(ada, "send", box_of(bob, "bob"), "genuine").code == 0
    sync(ada)
    sync(bob)
    ref = log(clone_id(ada))
    first = enlist(mallory, {ref: mallory.tip(ref)})
    take_off(mallory, clone_id(ada))
    sync(bob)
    assert listed(bob).keys() == {ref}
    other = forged(mallory, ada, ("ada", "message", "FORGED", {"to": [box_of(bob, "bob")]}))
    second = log(clone_id(ada), "0002")
    enlist(mallory, {ref: other, second: other}, first)
    sync(bob)
    for _ in range(2):
        assert shown(cli, bob, "genuine") and shown(cli, bob, "FORGED") is None
        assert listed(bob).keys() == {ref}
        (bob / ".git/coord/retired").unlink()
    enlist(mallory, {ref: other})  # it does not continue ours
    sync(bob)
    assert shown(cli, bob, "genuine") and shown(cli, bob, "FORGED") is None


def test_a_list_that_was_replaced_by_force_is_joined_and_not_believed(
    clones: tuple[Path, Path], mallory: Mallory, cli: Cli
) -> None:
    ada, bob = clones
    assert cli(ada, "send", box_of(bob, "bob"), "genuine").code == 0
    sync(ada)
    sync(bob)
    ref, other = log(clone_id(ada)), log("x-00000009")
    first = enlist(mallory, {ref: mallory.tip(ref)})
    take_off(mallory, clone_id(ada))
    sync(bob)
    fake = forged(mallory, ada, ("ada", "note", "FORGED", {}))
    stranger = mallory.commit("x-00000009", "x", "note", 1, "a stranger's note", {})
    theirs = enlist(mallory, {ref: fake, other: stranger})
    (bob / ".git/coord/seen-clones").unlink()
    sync(bob)
    tip = mallory.tip(RETIRED)
    parents = git(mallory.remote, "rev-list", "--parents", "-1", tip).split()
    assert parents[1:3] == [first, theirs], "both continue in it, ours first"
    assert shown(cli, bob, "genuine") and "a stranger's note" in cli(bob, "notes").out
    assert "FORGED" not in cli(bob, "notes").out


def test_a_list_on_top_of_another_history_is_read_no_further(clones: tuple[Path, Path], mallory: Mallory, cli: Cli) -> None:
    ada, bob = clones
    ref = log(clone_id(ada))
    first = enlist(mallory, {ref: mallory.tip(ref)})
    take_off(mallory, clone_id(ada))
    assert cli(bob, "sync").code == 0 and cli(bob, "notes").code == 0
    code = git(bob, "rev-parse", "HEAD").strip()
    stranger = mallory.commit("x-00000009", "x", "note", 1, "x", {})
    enlist(mallory, {log("x-00000009"): stranger}, code, first)
    sync(bob)
    with Coord.open(bob) as coord:
        store = coord.clone.store
        read: list[str] = []
        real = store.git.read
        store.git.read = lambda oids: real(read.append(oid) or oid for oid in oids)  # type: ignore[method-assign, func-returns-value]
        assert set(retired.Retired(store.git).at(mallory.tip(RETIRED))) == {log("x-00000009")}  # type: ignore[arg-type]
        assert len(read) == 2
        store.tips()
        assert clone_id(ada) in store.retired, "what our list had stays in it"


def test_the_list_has_a_limit(clones: tuple[Path, Path], mallory: Mallory, monkeypatch: pytest.MonkeyPatch) -> None:
    _, bob = clones
    monkeypatch.setattr(retired, "MAX_CLONES", 3)
    stranger = mallory.commit("x-00000009", "x", "note", 1, "x", {})
    enlist(mallory, {log(f"x-{number:08d}"): stranger for number in range(9)})
    sync(bob)
    assert len(listed(bob)) == 3


def test_a_list_frees_nothing_where_signatures_are_required(clones: tuple[Path, Path], mallory: Mallory, cli: Cli) -> None:
    ada, bob = clones
    git(bob, "config", "coord.requireSigned", "true")
    task = json.loads(cli(ada, "task", "add", "a task", "--json").out)["id"]
    assert cli(ada, "task", "claim", task).code == 0 and cli(ada, "lock", "readme.txt").code == 0
    sync(ada)
    sync(bob)
    ref = log(clone_id(ada))
    enlist(mallory, {ref: mallory.tip(ref)})
    take_off(mallory, clone_id(ada))
    sync(bob)
    assert "ada" in cli(bob, "locks").out
    assert cli(bob, "task", "claim", task).code == 1
