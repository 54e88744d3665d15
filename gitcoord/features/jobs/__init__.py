"""Jobs: supervised commands, their logs, and the messages about their ends.

This room may use `features.messages` and the rooms below. Begin with `fold`, then `start` and `supervise`. Never let a
command line or its output leave the clone unless the user asked for it.
"""
