"""Messages: sending, the inbox, and the ledger that says how far each message got.

This room may use `sync` and the rooms below; the other features may use it. Begin with `sending`, then `inbox`. Never
mark a message read before it was shown to its reader.
"""
