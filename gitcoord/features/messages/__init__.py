"""Messages: sending, the inbox, the ledger that says how far each message got.

This room may use `sync` and what lies below; the other features may use it. Begin with `sending`, then `inbox`.
Never mark a message read before its reader was shown it.
"""
