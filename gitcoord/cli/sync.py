"""The verbs sync and remote."""

from __future__ import annotations

import time

from gitcoord import Coord
from gitcoord.cli.command import argument, command, group, option
from gitcoord.cli.output import inert, say, say_json
from gitcoord.cli.params import common, duration, opened
from gitcoord.errors import RemoteError
from gitcoord.lean import TYPE_CHECKING, Any
from gitcoord.system.streams import remark
from gitcoord.text import seconds_in, shell_word

if TYPE_CHECKING:
    from gitcoord.sync.exchange import Report

EVERY = "5"


@group(short_help="where coordination happens")
def remote() -> None:
    """The remote that has the claims of all clones.

    Example: git coord remote set origin
    """


@remote.command("set", short_help="move coordination to another remote")
@argument("name", metavar="REMOTE")
@option("--force", is_flag=True, help="Even if the old remote cannot be reached.")
@common
def remote_set(name: str, force: bool, as_name: str | None, as_json: bool) -> None:
    """Move coordination, with my clone's claims, to another remote. Refuses if another clone holds one of them there.

    Example: git coord remote set git@example.org:team/coordination.git
    """
    with opened(as_name, notice=False) as coord:
        moved = coord.remote.set(name, force=force)
        if as_json:
            say_json(moved._asdict())
            return
        came = f", left {moved.left}" if moved.left else ""
        say(inert(f"Coordination is at {moved.remote} now{came}; {moved.claims} leases went along."))
        if moved.others:
            remark(f"warning: still at {moved.left}: {', '.join(moved.others)}. Claims and numbers there do not count here.")
            remark(f"hint: in each of these clones: git coord remote set {shell_word(moved.remote)}")


@command(short_help="exchange with the remote")
@argument("remote", required=False)
@option("--watch", is_flag=False, flag_value=EVERY, metavar="[S]", help="Keep syncing, every S seconds (5).")
@option("--yes-private", is_flag=True, help="This remote is private: send, and remember that.")
@option("--dry-run", is_flag=True, help="Only count what would be sent, by type.")
@common
def sync(remote: str | None, watch: str | None, yes_private: bool, dry_run: bool, as_name: str | None, as_json: bool) -> None:
    """Send what is new here to a remote (a name or a URL) and fetch what others sent.

    Example: git coord sync origin
    """
    if watch is not None and seconds_in(watch) is None:  # `sync --watch origin`
        remote, watch = watch, EVERY
    with opened(as_name, notice=False) as coord:
        if yes_private and not dry_run:
            coord.remote.vouch(remote)
        if dry_run:
            _say_preview(coord.remote.preview(remote), as_json)
        elif watch is not None:
            _keep_on(coord, remote, duration(watch, "--watch") or 1, as_json)
        else:
            _say_report(coord.remote.sync(remote), as_json)
            _say_visit(coord, remote)


def _say_visit(coord: Coord, remote: str | None) -> None:
    """Say which remote keeps the claims, if this sync is with another one."""
    kept = coord.remote.connected()
    if remote and coord.remote.is_visit(remote):
        remark(f"note: claims stay at {inert(kept)}; to move them here: git coord remote set {shell_word(remote)}")


def _keep_on(coord: Coord, remote: str | None, every: int, as_json: bool) -> None:
    """Print a line whenever a sync exchanged something or failed, and give signs of life for the session."""
    failing = ""
    remark(f"syncing every {every} s until Ctrl-C; a line for each exchange")
    for report in coord.remote.watch(remote, every):
        _ = coord.identity  # gives a beat now and then
        if isinstance(report, RemoteError):
            if report.what != failing:
                remark(f"{time.strftime('%H:%M:%S')} {report.what}; trying again")
            failing = report.what
        elif report.sent or report.received or report.refused or failing or as_json:
            if failing:
                remark(f"{time.strftime('%H:%M:%S')} {report.remote} is back")
            failing = ""
            if report.sent or report.received or report.refused:
                _say_report(report, as_json, "" if as_json else time.strftime("%H:%M:%S "))
        flush()


def flush() -> None:
    import sys

    sys.stdout.flush()


def _say_report(report: Report, as_json: bool, prefix: str = "") -> None:
    if as_json:
        say_json(_json(report))
        return
    crossed = [f"{number} {what}" for number, what in ((report.sent, "sent"), (report.received, "received")) if number]
    say(inert(f"{prefix}{report.remote}: {', '.join(crossed) or 'nothing new'}"))
    by_reason: dict[str, list[str]] = {}
    for refusal in report.refused:
        by_reason.setdefault(refusal.why, []).append(refusal.ref)
    for why, refs in by_reason.items():
        more = f" and {len(refs) - 1} more" if len(refs) > 1 else ""
        remark(f"warning: not synced: {refs[0]}{more}: {why}")


def _json(report: Report) -> dict[str, Any]:
    return {**report._asdict(), "refused": [refusal._asdict() for refusal in report.refused]}


def _say_preview(found: dict[str, int], as_json: bool) -> None:
    if as_json:
        say_json(found)
        return
    for kind, number in found.items():
        say(f"{number:>6} {inert(kind)}")
    say("Nothing was sent: git coord sync" if found else "Nothing would be sent.")
