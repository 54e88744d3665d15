"""Overlaps: two sessions that change the same file, and whether their work merges.

This room may use `features.messages` and what lies below. Begin with `notices`, then `conflicts`. Never write to
anybody's index or work tree.
"""
