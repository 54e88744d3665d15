"""Logs without a ref of their own: local logs, in files that no git command sends, and those of retired clones.

This room may use `store` and the rooms below. `store` is the door: it looks like the store of the repository, keeps the
local logs in `files`, and shows the logs that `retired` lists. Nothing local may ever come below `refs/`, where `git push
--mirror` would take it.
"""
