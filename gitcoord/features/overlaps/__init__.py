"""Overlaps: two sessions that change the same file, and whether their work merges.

This room may use `features.messages` and the rooms below. Begin with `notices`, then `conflicts`. Never write to a
user's index or work tree.
"""
