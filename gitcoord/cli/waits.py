"""The verbs wait and watch."""

from __future__ import annotations

import sys

from gitcoord.cli.command import argument, command, option
from gitcoord.cli.history import check_type, event_line
from gitcoord.cli.output import one_line, say, say_json
from gitcoord.cli.params import common, duration, opened
from gitcoord.cli.talk import show_page
from gitcoord.lean import Any, signal
from gitcoord.overview.shapes import event_json, shown_name


@command(short_help="sleep until something concerns me")
@argument("conditions", nargs=-1)
@option("--timeout", metavar="S", help="Give up after S seconds (or 5m): exit 1.")
@common
def wait(conditions: tuple[str, ...], timeout: str | None, as_name: str | None, as_json: bool) -> int:
    """Wait for mail, and print and mark it as inbox does; or until one condition holds, consuming nothing:
    message, task:ID=done, job:ID, session:S=gone, lock:PATH=free.

    Example: git coord wait session:worker-1=gone --timeout 10m
    """
    from gitcoord.overview.waiting import wait_for_any, wait_for_mail

    seconds = duration(timeout, "--timeout")
    end_quietly()
    with opened(as_name, patience=seconds) as coord:
        output = sys.stdout.fileno()
        if not conditions:
            page = wait_for_mail(coord, seconds, output=output)
            if page is not None:
                show_page(coord, page, as_json)
                return 0
        else:
            held = wait_for_any(coord, conditions, seconds, output)
            if held is not None:
                found = {key: _bare(coord, key, value) for key, value in held.found.items()}
                if as_json:
                    say_json({"condition": held.condition, "kind": held.kind, **found})
                else:
                    say(f"{held.condition}: " + ", ".join(f"{key} {one_line(str(v), 60)}" for key, v in found.items()))
                return 0
        if as_json:
            say_json({"timeout": seconds})
        else:
            say(f"Nothing happened in {seconds} seconds.")
        return 1


def end_quietly() -> None:
    """End on a signal without output; the exit code says which signal."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: sys.exit(128 + received))


def _bare(coord: Any, key: str, value: Any) -> Any:
    return shown_name(coord, value) if isinstance(value, str) and key in ("session", "from", "holder") else value


@command(short_help="follow everything")
@option("--type", "kind", metavar="K", help="Only this type of event.")
@option("--since", metavar="ID", help="Begin after this event.")
@common
def watch(kind: str | None, since: str | None, as_name: str | None, as_json: bool) -> int:
    """Follow everything as it happens, until interrupted; --json prints one event per line.

    Example: git coord watch --type message --json
    """
    end_quietly()
    with opened(as_name) as coord:
        if kind is not None:
            check_type(coord, kind)
        for event in coord.events.watch(kind=kind, since=since, output=sys.stdout.fileno()):
            if as_json:
                say_json(event_json(coord, event))
            else:
                say(event_line(coord, event))
            sys.stdout.flush()
    return 0
