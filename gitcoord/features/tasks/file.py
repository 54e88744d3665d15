"""File many tasks at once: one JSON object per line, which may refer to each other by local ids (docs/guide.md)."""

from __future__ import annotations

from collections.abc import Sequence

from gitcoord import lean_json as json
from gitcoord.errors import UsageError
from gitcoord.features.tasks.fold import DEFAULT_PRIORITY, PRIORITIES, TITLE
from gitcoord.lean import Any, NamedTuple
from gitcoord.log.event import check_text

HINT = 'a line is like {"id": "a", "title": "…", "text": "…", "priority": 2, "labels": [], "needs": ["b"], "assignee": "s"}'
KINDS: dict[str, type] = {
    "id": str, "title": str, "text": str, "priority": int, "labels": list, "needs": list, "assignee": str,
}  # fmt: skip


class NewTask(NamedTuple):
    """A task to be filed. `needs` are ids of tasks, or the `local` names of others filed with it."""

    title: str
    text: str = ""
    priority: int = DEFAULT_PRIORITY
    labels: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    assignee: str | None = None
    local: str = ""


def parse(text: str) -> list[NewTask]:
    """The tasks in a file of JSON lines; empty lines are ignored. Raises UsageError, naming the line."""
    tasks: list[NewTask] = []
    taken: set[str] = set()
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            task = _parse_line(line, f"line {number}")
            if task.local in taken:
                raise UsageError(f"line {number}: a second task has the id {task.local!a}", HINT)
            tasks.append(task)
            taken |= {task.local} - {""}
    if not tasks:
        raise UsageError("there is no task in the file", HINT)
    return tasks


def _parse_line(line: str, where: str) -> NewTask:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError(f"{where} is not JSON", HINT) from None
    if not isinstance(data, dict):
        raise UsageError(f"{where} is not a JSON object", HINT)
    for key, value in data.items():
        if key not in KINDS:
            raise UsageError(f"{where}: {key!a} is not a known key", HINT)
        if type(value) is not KINDS[key] or (isinstance(value, list) and not all(type(v) is str for v in value)):
            raise UsageError(f"{where}: {key} is not a {_kind(key)}", HINT)
    try:
        return check(_new_task(data))
    except UsageError as error:
        raise UsageError(f"{where}: {error.what}", error.hint) from None


def _kind(key: str) -> str:
    return {str: "text", int: "whole number", list: "list of texts"}[KINDS[key]]


def _new_task(data: dict[str, Any]) -> NewTask:
    return NewTask(
        data.get("title", ""), data.get("text", ""), data.get("priority", DEFAULT_PRIORITY), tuple(data.get("labels", ())),
        tuple(data.get("needs", ())), data.get("assignee"), data.get("id", ""),
    )  # fmt: skip


def check(task: NewTask) -> NewTask:
    """Check a task and return it, tidied. Raises UsageError."""
    check_priority(task.priority)
    check_labels(task.labels)
    title = check_title(task.title)
    check_text(f"{title}\n\n{task.text}")
    return task._replace(title=title)


def check_title(title: str) -> str:
    """Check a title and return it on one line. Raises UsageError for an empty or a long one."""
    flat = " ".join(check_text(title).split())
    if not flat:
        raise UsageError("the title is empty", "git coord task add TITLE")
    if len(flat) > TITLE:
        raise UsageError(f"the title has {len(flat)} characters, at most {TITLE} fit", "put the rest into -m TEXT")
    return flat


def check_priority(priority: int) -> None:
    """Check a priority. Raises UsageError."""
    if priority not in PRIORITIES:
        raise UsageError(f"{priority} is not a priority", "0 is the highest, 4 the lowest")


def check_labels(labels: Sequence[str]) -> None:
    """Check labels. Raises UsageError."""
    for label in labels:
        if not 0 < len(label) <= 40 or not label.isprintable() or " " in label or "," in label:
            raise UsageError(f"{label[:60]!a} is not a label", "up to 40 characters without spaces and commas")


def in_order(tasks: Sequence[NewTask]) -> list[int]:
    """The places of `tasks`, each after those it needs, otherwise in the given order. Raises UsageError for a cycle."""
    places = {task.local: place for place, task in enumerate(tasks) if task.local}
    order: list[int] = []
    state: dict[int, bool] = {}  # False while its needs are being placed
    for start in range(len(tasks)):
        ahead = [start]
        while ahead:
            place = ahead[-1]
            if state.get(place):
                ahead.pop()
                continue
            state[place] = False
            needs = [places[need] for need in tasks[place].needs if need in places]
            missing = [need for need in needs if not state.get(need)]
            if any(need in state for need in missing):
                raise UsageError(f"{tasks[place].title!r} needs itself in a cycle", "leave out one of the needs")
            ahead += reversed(missing)
            if not missing:
                state[place] = True
                order.append(ahead.pop())
    return order
