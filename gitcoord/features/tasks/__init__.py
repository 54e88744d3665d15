"""Tasks: filed, claimed by one session at a time, and done; needs say which tasks are ready.

This room may use `features.messages` and the rooms below. Begin with `fold`, then `read` and `write`; `claims` decides
between a lease and this clone's own events. Never let two callers claim one task.
"""
