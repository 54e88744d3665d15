"""Overviews: answers that join several features for a reader.

This room may use every feature; no feature knows it. Begin with `status`, then `brief`. Never mark anything read here.
"""
