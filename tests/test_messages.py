"""Messages between two worktrees of one repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitcoord import Coord, UsageError
from gitcoord.messages import Delivery


def test_a_message_crosses_and_its_sender_sees_how_far_it_got(worktrees: tuple[Path, Path]) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        sent = alpha.send("beta", "the schema is merged")
        assert [(d.state) for d in alpha.sent()[0].recipients] == ["queued"]
        page = beta.inbox()
        assert [(m.id, m.text, m.sender) for m in page.messages] == [
            (sent.id, "the schema is merged", f"alpha@{alpha.clone.id}")
        ]
        (delivery,) = alpha.sent()[0].recipients
        assert delivery == Delivery(f"beta@{alpha.clone.id}", "read", delivery.at)
        assert beta.inbox().messages == ()


def test_an_unknown_recipient_is_refused_and_nothing_is_written(worktrees: tuple[Path, Path]) -> None:
    with Coord.open(worktrees[0]) as alpha:
        before = alpha.log(limit=1)
        with pytest.raises(UsageError, match="no session is called bta") as caught:
            alpha.send("beta,".rstrip(",").replace("e", ""), "hello")
        assert caught.value.hint == "did you mean beta?"
        assert alpha.log(limit=1) == before
