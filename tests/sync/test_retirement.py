"""Clones that are silent for long: who is gone, what that frees, and how a clone ends without its owner."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from clones import at_once, clone_id, make_met, set_clocks, sync_all
from conftest import Cli, git

from gitcoord import Coord, Refused
from gitcoord.features.tasks.standing import TTL
from gitcoord.log.apart.retired import listed
from gitcoord.store import transport
from gitcoord.store.ref_names import RETIRED

DAY = 86400.0


def let_time_pass(path: Path, seconds: float) -> None:
    """As if this clone had heard of nobody else for so long: what it saw last is that much older."""
    with Coord.open(path) as coord:
        shift = "UPDATE presence SET seen = seen - ? WHERE clone != ?"
        coord.clone.read(lambda db: db.execute(shift, (seconds, coord.clone.id)))
        coord.clone.index.db.commit()


def test_a_session_that_was_silent_for_a_day_is_gone_for_everybody_else(tmp_path: Path, cli: Cli) -> None:
    _, (ada, bob) = make_met(tmp_path, 2)
    with Coord.open(ada, as_name="w") as coord:
        task = coord.tasks.add("held for ever").id
        coord.tasks.claim(task)
        away = f"w@{coord.clone.id}"
    sync_all([ada, bob])
    me = {"GIT_COORD_SESSION": "w"}
    assert cli(bob, "wait", f"session:{away}=gone", "--timeout", "1", env=me).code == 1
    assert away in cli(bob, "send", "all", "hello", env=me).out
    let_time_pass(bob, DAY + 60)
    assert cli(bob, "wait", f"session:{away}=gone", "--timeout", "1", env=me).code == 0
    assert cli(bob, "send", "all", "hello", env=me).code == 2, "nobody is left"
    assert away not in cli(bob, "sessions", env=me).out and away in cli(bob, "sessions", "--all", env=me).out
    assert task[:7] in cli(bob, "tasks", "--ready", env=me).out, "it is offered"


def test_without_a_sync_nobody_knows_whether_others_are_silent(tmp_path: Path, cli: Cli) -> None:
    _, (_, bob) = make_met(tmp_path, 2)
    let_time_pass(bob, 2 * DAY)
    os.utime(bob / ".git/coord/heard", (time.time() - 1.5 * DAY,) * 2)
    assert "recipient" not in (sent := cli(bob, "send", "all", "after a weekend", env={"GIT_COORD_SESSION": "w"})).err
    assert sent.code == 0 and "w@ada" in sent.out


def test_coord_gone_is_a_setting(tmp_path: Path, cli: Cli) -> None:
    _, (_, bob) = make_met(tmp_path, 2)
    let_time_pass(bob, DAY + 60)
    me = {"GIT_COORD_SESSION": "w"}
    assert "w@ada" not in cli(bob, "sessions", env=me).out
    for value, shown in (("1w", True), ("12h", False), ("nonsense", False)):
        assert cli(bob, "sessions", env={**me, **config("coord.gone", value)}).out.count("w@ada") == shown


def config(key: str, value: str) -> dict[str, str]:
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": value}


def test_what_is_offered_can_be_had_only_after_the_silence_of_a_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, (ada, bob) = make_met(tmp_path, 2)
    with Coord.open(ada, as_name="w") as coord:
        task = coord.tasks.add("held for ever").id
        coord.tasks.claim(task)
    sync_all([ada, bob])
    let_time_pass(bob, DAY + 60)
    with Coord.open(bob, as_name="w") as coord:
        assert coord.tasks.next(claim=True) is None, "the lease was seen unchanged for no time at all"
        with pytest.raises(Refused):
            coord.tasks.claim(task)
        wall, up = set_clocks(monkeypatch)
        wall[0] += TTL + 1
        up[0] += TTL + 1
        found = coord.tasks.next(claim=True)
        assert found and found.id == task


# retiring


def silent_for(path: Path, days: float, of: Path) -> None:
    """As if the clone at `path` had seen so long ago what it sees of the one at `of` now."""
    seen = path / ".git/coord/seen-clones"
    os.utime(seen, (0, 0))
    sync(path)
    found = json.loads(seen.read_text())
    (key,) = [key for key in found if clone_id(of) in key]
    found[key] = [found[key][0] - days * DAY, found[key][1] - days * DAY, found[key][2]]
    seen.write_text(json.dumps(found))
    os.utime(seen, (time.time() - DAY,) * 2)


def sync(path: Path) -> list[str]:
    with Coord.open(path, as_name="w") as coord:
        coord.remote.sync("origin")
        return coord.clone.mended


def refs_of(where: Path, clone: str) -> list[str]:
    return [ref for ref in git(where, "for-each-ref", "--format=%(refname)", "refs/coord").split() if clone in ref]


def everything(path: Path) -> list[tuple[str, str]]:
    with Coord.open(path, as_name="w") as coord:
        return coord.clone.read(lambda db: db.execute("SELECT id, text FROM events WHERE local = 0 ORDER BY lc, id").fetchall())


@pytest.fixture
def retired(tmp_path: Path) -> tuple[Path, list[Path], str, str]:
    """Three clones, of which ada, with a task and a message, was silent for 31 days and was retired by bob."""
    hub, clones = make_met(tmp_path, 3)
    ada, bob, _ = clones
    with Coord.open(ada, as_name="w") as coord:
        task = coord.tasks.add("left by ada").id
        coord.tasks.claim(task)
        coord.send(f"w@{clone_id(bob)}", "before I go")
        name = coord.clone.id
    sync_all(clones)
    silent_for(bob, 31, ada)
    sync(bob)
    return hub, clones, name, task


def test_a_clone_that_was_silent_for_a_month_is_retired_by_another(
    retired: tuple[Path, list[Path], str, str], cli: Cli, tmp_path: Path
) -> None:
    hub, (_, bob, cy), name, task = retired
    assert refs_of(hub, name) == refs_of(bob, name) == []
    for path in (bob, cy):
        sync(path)
        before = everything(path)
        assert "before I go" in [text for _, text in before]
        (path / ".git/coord/index.sqlite").unlink()
        (path / ".git/coord/retired").unlink()
        assert everything(path) == before
        assert refs_of(path, name) == []
    git(tmp_path, "clone", "-q", str(hub), "dee")
    assert cli(tmp_path / "dee", "join", "w").code == 0 and cli(tmp_path / "dee", "sync").code == 0
    with Coord.open(tmp_path / "dee", as_name="w") as coord:
        assert coord.tasks.show(task).title == "left by ada"
        assert coord.sessions.get(f"w@{name}").state == "gone"
    git(bob, "gc", "-q", "--prune=now")
    git(hub, "gc", "-q", "--prune=now")
    (bob / ".git/coord/index.sqlite").unlink()
    assert "before I go" in [text for _, text in everything(bob)]
    assert git(bob, "fsck", "--strict", "--no-dangling") == ""


def test_an_older_program_that_meets_the_remote_first_misses_retired_clones_until_it_is_upgraded(
    retired: tuple[Path, list[Path], str, str], cli: Cli, tmp_path: Path
) -> None:
    """It fetches what it knows, as by hand: no list. Others' events about what it never saw count for nothing there."""
    hub, (_, bob, _), _, task = retired
    with Coord.open(bob, as_name="w") as coord:
        coord.tasks.comment(task, "what about this?")
        coord.send("all", "from bob")
        coord.remote.sync()
    git(tmp_path, "clone", "-q", str(hub), "dee")
    dee = tmp_path / "dee"
    git(dee, "fetch", "-q", "origin", "refs/coord/log/*:refs/coord/log/*")
    with Coord.open(dee, as_name="w") as coord:
        assert coord.tasks.list() == [] and "from bob" in [text for _, text in everything(dee)]
    assert cli(dee, "sync").code == 0
    assert everything(dee) == everything(bob)
    with Coord.open(dee, as_name="w") as coord:
        assert coord.tasks.show(task).comments[0].text == "what about this?"


def test_who_comes_back_goes_on_under_a_new_id(retired: tuple[Path, list[Path], str, str], cli: Cli) -> None:
    hub, (ada, bob, cy), name, task = retired
    me = {"GIT_COORD_SESSION": "w"}
    assert cli(ada, "note", "written while I was away", env=me).code == 0
    (said,) = [line for line in sync(ada) if "has retired" in line]
    assert name in said and f"git coord join NAME --from {name}" in said
    fresh = clone_id(ada)
    assert fresh != name and refs_of(hub, name) == [] and refs_of(hub, fresh)
    assert "has retired" in cli(ada, "inbox", env=me).out
    assert cli(ada, "join", "w", "--from", name, env=me).code == 0
    sync_all([ada, bob, cy])
    for path in (ada, bob, cy):
        with Coord.open(path, as_name="w") as coord:
            assert "written while I was away" in [note.text for note in coord.notes.list()]
            assert coord.tasks.show(task).title == "left by ada"
    assert cli(bob, "send", f"w@{name}", "welcome back", env=me).code == 0
    sync_all([bob, ada])
    assert "welcome back" in cli(ada, "inbox", env=me).out


def test_a_sign_of_life_in_the_last_moment_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, (ada, bob) = make_met(tmp_path, 2)
    sync(bob)
    silent_for(bob, 31, ada)
    real = transport.push

    def push(repo: object, remote: object, updates: list[transport.Update], *rest: object, **more: bool) -> object:
        if any(update.ref == RETIRED for update in updates):
            with Coord.open(ada, as_name="w") as coord:
                coord.notes.add("still here")
                monkeypatch.setattr(transport, "push", real)
                coord.remote.sync("origin")
        return real(repo, remote, updates, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(transport, "push", push)
    sync(bob)
    assert len(refs_of(hub, clone_id(ada))) == 2 and RETIRED not in git(hub, "for-each-ref")
    sync(bob)
    assert "still here" in [text for _, text in everything(bob)]


def test_two_that_retire_the_same_one_at_once_make_one_list(tmp_path: Path) -> None:
    hub, (ada, bob, cy) = make_met(tmp_path, 3)
    for path in (bob, cy):
        sync(path)
        silent_for(path, 31, ada)
    codes = [code for code, _, _ in at_once([bob, cy], lambda number: ["sync", "origin"])]
    assert codes == [0, 0] and refs_of(hub, clone_id(ada)) == []
    assert refs_of(hub, clone_id(bob)) and refs_of(hub, clone_id(cy))
    sync_all([bob, cy])
    assert everything(bob) == everything(cy)


def test_a_list_that_names_what_it_does_not_keep_lists_nothing(tmp_path: Path) -> None:
    _, (ada, bob) = make_met(tmp_path, 2)
    with Coord.open(bob, as_name="w") as coord:
        clone = coord.clone
        tip = clone.store.tips().refs[f"refs/coord/log/{clone_id(ada)}/0001"]
        fresh = clone.list_retired({f"refs/coord/log/{clone_id(ada)}/0001": tip}, [])
        raw = next(iter(clone.store.read([fresh]))).data
        assert listed(raw) == {f"refs/coord/log/{clone_id(ada)}/0001": tip}
        assert listed(raw.replace(f"parent {tip}\n".encode(), b"")) == {}
        assert listed(raw.replace(b"refs/coord/log", b"refs/heads/log")) == {}
        assert listed(raw.replace(b'"type":"retired"', b'"type":"retirex"')) is None
        assert listed(b"nonsense") is None


def test_another_remote_with_a_list_of_its_own_gets_both(retired: tuple[Path, list[Path], str, str], tmp_path: Path) -> None:
    _, (_, bob, cy), name, _ = retired
    git(tmp_path, "init", "-q", "--bare", "other.git")
    sync(cy)
    with Coord.open(cy, as_name="w") as coord:
        clone = coord.clone
        ref = f"refs/coord/log/{clone_id(bob)}/0001"
        alone = clone.list_retired({ref: clone.store.tips().refs[ref]}, [])
        git(cy, "push", "-q", "../other.git", f"{alone}:{RETIRED}")
    with Coord.open(cy, as_name="w") as coord:
        coord.remote.set(str(tmp_path / "other.git"), force=True)
        os.utime(cy / ".git/coord/seen-clones", (0, 0))
        coord.remote.sync()
        refs = coord.clone.store.git.tips().refs
        assert {name, clone_id(bob)} <= {r.split("/")[3] for r in coord.clone.store.listed(refs[RETIRED])}
