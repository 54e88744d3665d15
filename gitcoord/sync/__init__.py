"""Sync: the exchange with a remote, and what is decided there: leases, public remotes, ids that have to change.

This room may use `sessions` and the rooms below. Begin with `exchange`, then `incoming` and `outgoing`. Never hold the
write lock while something waits for the network.
"""
