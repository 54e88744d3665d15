"""The verbs trust, redact and gc."""

from __future__ import annotations

from gitcoord.cli.command import argument, command, option
from gitcoord.cli.output import inert, say, say_json
from gitcoord.cli.params import common, duration, opened
from gitcoord.cli.talk import SHORT, verified_text
from gitcoord.lean import TYPE_CHECKING, Any
from gitcoord.overview.shapes import verified_json
from gitcoord.text import said

if TYPE_CHECKING:
    from gitcoord.log.trust import Signer


@command(short_help="which clones sign, and what is wrong")
@option("--accept", "accepted", metavar="CLONE", help="Trust its present key; forget its warnings.")
@common
def trust(accepted: str | None, as_name: str | None, as_json: bool) -> None:
    """The other clones: the signer and key of their newest checkpoint, and what the user should look at.

    Example: git coord trust --accept bob-1f2e3d4c
    """
    with opened(as_name) as coord:
        found = coord.trust.signers() if accepted is None else [coord.trust.accept(accepted)]
        if as_json:
            say_json([_json(signer) for signer in found])
            return
        for signer in found:
            say(inert(f"{signer.clone}  ") + _signed(signer))
            for warning in signer.warnings:
                say(inert(f"  {warning}"))
        if not found:
            say("No other clones.")


def _signed(signer: Signer) -> str:
    """The last signer, and the key and person that the clone is known for."""
    text = verified_text(signer.signature._replace(key=""))
    text += f" ({inert(signer.signature.key)})" if signer.signature.key else ""
    known = f"known for {inert(signer.known_key)}" + (f" of {said(signer.known_by)}" if signer.known_by else "")
    return f"{text}; {known}" if signer.known_key else text


def _json(signer: Signer) -> dict[str, Any]:
    return {
        "clone": signer.clone,
        **verified_json(signer.signature),
        "key": signer.signature.key or None,
        "known_key": signer.known_key or None,
        "known_by": signer.known_by or None,
        "warnings": list(signer.warnings),
    }


@command(short_help="take an event out of my clone's log")
@argument("event_id", metavar="ID")
@common
def redact(event_id: str, as_name: str | None, as_json: bool) -> None:
    """Take a message, note, task, … of this clone out of its log, for good. Copies may exist elsewhere.

    Example: git coord redact 3f9a1c77
    """
    with opened(as_name) as coord:
        done = coord.events.redact(event_id)
        if as_json:
            say_json({"id": done.id, "carried": done.carried, "sent": done.sent})
            return
        say(f"{done.id[:SHORT]} is redacted; the log continues with {done.carried} event{'s' if done.carried != 1 else ''}.")
        if done.sent:
            say("It was sent: git coord sync deletes it at the remote, and clones that fetched it drop it. Copies may exist.")
        else:
            say("No sync of this clone has sent it; copies may exist where it was pushed by hand or backed up.")
        say("Its object stays in this repository until git prunes it: git gc --prune=now does so at once.")


@command(short_help="drop what ended long ago")
@option("--keep", default="90d", metavar="90d", help="Keep what ended since then (90d).")
@option("--dry-run", is_flag=True, help="Only count.")
@common
def gc(keep: str, dry_run: bool, as_name: str | None, as_json: bool) -> None:
    """Drop from this clone's log read mail, finished tasks and jobs, old notes, ended locks.

    Example: git coord gc --keep 30d
    """
    seconds = 0 if keep == "0" else duration(keep, "--keep")
    with opened(as_name) as coord:
        done = coord.repository.gc(seconds or 0, dry_run=dry_run)
        if as_json:
            say_json(done._asdict())
        elif done.dropped:
            did, kept = ("Would drop", "keep") if dry_run else ("Dropped", "kept")
            say(f"{did} {done.dropped} event{'s' if done.dropped > 1 else ''}, {kept} {done.kept}.")
        else:
            say("Nothing to drop.")
