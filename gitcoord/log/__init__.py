"""The log: events as commits, the one way to write them, and the index that answers questions.

This room may use `store` and what lies below. Begin with `event` (the format), then `clone` (reading and writing), then
`index`. Never move or delete a ref of this clone without the write lock, and never take off what was acknowledged.
"""
