"""Which tasks can be taken, as SQL."""

from __future__ import annotations

UNMET = (
    "SELECT 1 FROM task_needs n JOIN tasks o ON o.id = n.need"
    " WHERE n.task = t.id AND n.ignored = 0 AND o.status NOT IN ('done', 'dropped')"
)
"""What an SQL task `t` still waits for. A need that nobody knows (any more) keeps nothing waiting."""
READY = f"t.status = 'open' AND NOT EXISTS ({UNMET})"
