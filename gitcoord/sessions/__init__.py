"""Sessions: mailboxes and their names, presence, liveness, and which session a caller is.

This room may use `log` and the rooms below. Begin with `mailboxes` (names), then `records` (what this clone knows of
its sessions) and `identity` (who am I). Never free work because something is merely silent.
"""
