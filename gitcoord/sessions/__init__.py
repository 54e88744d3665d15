"""Sessions: mailboxes and their names, presence, liveness, and which session a caller is.

This room may use `log` and the rooms below. Begin with `mailboxes` (names), then `records` (this clone's private facts
about its sessions) and `identity` (the session of a caller). Never free work only because a session is silent.
"""
