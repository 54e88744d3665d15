"""Locks on paths and patterns, and the guard that checks them.

This room may use `features.messages` and the rooms below. Begin with `fold`, then `read` and `take`. A lock is
advisory: never refuse a commit because gitcoord itself failed.
"""
