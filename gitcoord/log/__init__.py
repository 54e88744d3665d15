"""The log: events as commits, the one way to write them, and the index that answers questions.

This room may use `store` and the rooms below. Begin with `event` (the format), then `clone` (reading and writing), then
`index`. Never move or delete a ref of this clone without the write lock, and never remove an acknowledged event.
"""
