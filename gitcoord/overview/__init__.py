"""Overviews: what several features know of one thing, joined for a reader.

This room may use every feature; no feature knows it. Begin with `status`, then `brief`. Never mark anything read here.
"""
