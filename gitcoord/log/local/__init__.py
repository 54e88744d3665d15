"""Local logs: events that never leave this clone, in files that no git command reads or sends.

This room may use `store` and the rooms below. `store` is the door: it looks like the store of the repository, and keeps the
local logs in `files`. Nothing of them may ever come below `refs/`, where `git push --mirror` would take it.
"""
