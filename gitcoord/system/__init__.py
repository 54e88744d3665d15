"""The machine below git: files, locks, processes, terminals.

This room knows operating systems and nothing of coordination. It may use `errors`, `names` and `text`, no other room.
Begin with `files` (careful reading and writing) and `lock` (the write lock). Never follow a link when writing.
"""
