"""trust: who signs, and what became of other clones' logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gitcoord.cli.output import inert, say, say_json
from gitcoord.cli.params import common, opened
from gitcoord.cli.talk import verified_json, verified_text

if TYPE_CHECKING:
    from gitcoord.trust import Signer


@click.command(short_help="who signs what, and what is wrong")
@click.option("--accept", "accepted", metavar="CLONE", help="Take it as it signs now; forget what was wrong.")
@common
def trust(accepted: str | None, as_name: str | None, as_json: bool) -> None:
    """The other clones: who vouches for their newest checkpoint, with which key, and what the user should look at.

    Example: git coord trust --accept bob-1f2e3d4c
    """
    with opened(as_name) as coord:
        found = coord.signers() if accepted is None else [coord.accept(accepted)]
        if as_json:
            say_json([_json(signer) for signer in found])
            return
        for signer in found:
            key = f" ({signer.known_key})" if signer.known_key and signer.signature.state == "verified" else ""
            say(inert(signer.clone) + f"  {verified_text(signer.signature)}{key}")
            for warning in signer.warnings:
                say(inert(f"  {warning}"))
        if not found:
            say("No other clones.")


def _json(signer: Signer) -> dict[str, Any]:
    return {
        "clone": signer.clone,
        **verified_json(signer.signature),
        "key": signer.signature.key or None,
        "known_key": signer.known_key or None,
        "warnings": list(signer.warnings),
    }
