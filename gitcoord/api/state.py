"""`coord.state`: keys and values of a session, which come back after a compaction or a restart."""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord.api.facade import Facade
from gitcoord.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from gitcoord.features.state import Value


class State(Facade):
    """The caller's keys and values. Raises Refused for a key that is not set, UsageError for a bad key or value.

    Example:

        coord.state.set("plan", "first the lexer")
        coord.state.get("plan").text
        coord.state.show()
        coord.state.unset("plan")
    """

    __slots__ = ()

    def set(self, key: str, text: str, *, as_json: bool = False) -> Value:
        """Set a key; nothing is written if it has that value. `as_json`: the text is a JSON document."""
        from gitcoord.features import state

        return self._write(lambda me: state.set_state(self._clone, me, key, text, as_json))

    def get(self, key: str) -> Value:
        """The value of a key."""
        from gitcoord.features import state

        return state.get_state(self._clone, self._me, key)

    def unset(self, key: str) -> Value:
        """Unset a key; returns its last value."""
        from gitcoord.features import state

        return self._write(lambda me: state.unset_state(self._clone, me, key))

    def show(self, session: str | None = None) -> Mapping[str, Value]:
        """All keys that are set, sorted: mine, or another session's."""
        from gitcoord.features import state

        return state.show_state(self._clone, self._me, session)
