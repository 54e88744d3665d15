"""What nobody waits for: presence every five minutes, sessions gone for a day, the sweep, merging packs.

`refresh` does all of it. A long-lived process calls it itself; a one-shot command starts `git-coord hook refresh` in
the background and goes on. Packing and sweeping also happen in the writer that notices the need (`Clone`), because
they must not depend on a background process.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

from gitcoord.errors import CoordError
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft
from gitcoord.sessions.liveness import judge
from gitcoord.sessions.presence import PUBLISH_EVERY, presence_data, publish
from gitcoord.sessions.records import Record, Records
from gitcoord.store.ref_names import NAMESPACE, belongs_to
from gitcoord.system.files import names_in, remove_ours, touch_ours
from gitcoord.system.process import is_alive

RETIRE_AFTER = 24 * 3600
"""Seconds after which a session that is gone gives up its ref."""

CONVERSATION_KEPT = 90 * 24 * 3600
"""Seconds for which the name of an agent's conversation is kept."""


def keep_up(clone: Clone, record: Record, now: float | None = None) -> None:
    """Called with a beat when the presence is due: refresh, without making a one-shot command wait."""
    now = time.time() if now is None else now
    if not _claim(clone, now):
        return
    if clone.long_lived:
        with suppress(CoordError):
            refresh(clone, record.name, now)
    else:
        in_background(clone, "refresh", record.name)


def _claim(clone: Clone, now: float) -> bool:
    """Whether nobody began a refresh for this clone within the last seconds; a directory we may not write to says no."""
    marker = clone.path("refreshed")
    try:
        if 0 <= now - os.stat(marker).st_mtime < 10:
            return False
    except FileNotFoundError:
        pass
    except OSError:
        return False
    try:
        touch_ours(marker, now)
    except OSError:
        return False
    return True


def in_background(clone: Clone, *action: str) -> None:
    """Start `git-coord hook ACTION`, detached from everything of ours."""
    argv = [sys.executable, "-P", "-m", "gitcoord", "hook", *action]
    null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)] if hasattr(os, "posix_spawn") else []
    env = {**clone.repo.environ, "GIT_DIR": clone.repo.git_dir, "GIT_COORD": action[0]}
    try:
        if clone.long_lived:
            raise NotImplementedError  # who stays has to collect its children, which subprocess does
        os.posix_spawn(argv[0], argv, env, file_actions=null, setsid=True)
    except (AttributeError, NotImplementedError):
        import subprocess

        subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def refresh(clone: Clone, name: str | None = None, now: float | None = None) -> None:
    """Publish the presence of session `name` if it is due, then tidy all there is. Raises CoordError."""
    now = time.time() if now is None else now
    record = Records(clone.repo.coord_dir).get(name) if name else None
    if record and record.left is None and _is_due(clone, record, now):
        publish(clone, record, now)
    retire(clone, now)
    _forget_conversations(clone, now)
    from gitcoord.log import rollover

    rollover.drop_replaced(clone)
    clone.sweep()
    clone.pack(limit=None)


def _forget_conversations(clone: Clone, now: float) -> None:
    """Ids of agents' conversations that began long ago; one that is taken up again after that gets another name."""
    folder = clone.path("agents")
    with suppress(OSError):
        for path in (os.path.join(folder, name) for name in names_in(folder)):
            if os.lstat(path).st_mtime < now - CONVERSATION_KEPT:
                remove_ours(path)


def _is_due(clone: Clone, record: Record, now: float) -> bool:
    lost = f"{NAMESPACE}sessions/{clone.id}/{record.name}" not in clone.store.tips().refs  # a pruning fetch took it
    return lost or not 0 <= now - record.published < PUBLISH_EVERY


def retire(clone: Clone, now: float | None = None) -> list[str]:
    """Sessions of ours gone for a day leave their last presence in the log and give up their ref; returns their names."""
    now = time.time() if now is None else now
    records = Records(clone.repo.coord_dir)
    prefix = f"{NAMESPACE}sessions/{clone.id}/"
    refs = [ref for ref in clone.store.tips().refs if clone.id and belongs_to(ref, clone.id) and ref.startswith(prefix)]
    retired = []
    for ref in refs:
        name = ref.removeprefix(prefix)
        record = records.get(name)
        if record is None or _gone_since(records, record, now) < now - RETIRE_AFTER:
            _retire_one(clone, records, record or Record(name, left=now), now)
            retired.append(name)
    return retired


def _gone_since(records: Records, record: Record, now: float) -> float:
    """When the session went; now while it has not."""
    alive = is_alive(record.process) if record.process else None
    life = judge(record, records.beat(record.name), alive, now)
    return life.since if life.state == "gone" and life.since is not None else now


def _retire_one(clone: Clone, records: Records, record: Record, now: float) -> None:
    with clone.locked():
        data = presence_data(clone, record, records, now)
        clone.append(lambda db: [Draft("presence", f"{record.name} is gone", data, author=record.name)])
        clone.drop_presence(record.name)
        if records.get(record.name):
            records.put(record._replace(published=0.0))
