"""Tasks: filed, claimed by one session at a time, done; with needs, so that what is ready is always known.

This room may use `features.messages` and what lies below. Begin with `fold` (what events make of tasks), then `read` and
`write`; `claims` decides between a lease and this clone's word. Never let two callers claim one task.
"""
