"""Jobs: supervised commands, their logs, and how their ends are told.

This room may use `features.messages` and what lies below. Begin with `fold`, then `start` and `supervise`.
Never let a command line or its output leave the clone unless the user asked for it.
"""
