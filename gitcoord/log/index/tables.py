"""The index's own tables; features bring theirs."""

from __future__ import annotations

SCHEMA = 47
"""Raise it with every change of a table or a fold; tests/log/test_index.py has the fingerprint that reminds you."""

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE tips (ref TEXT PRIMARY KEY, oid TEXT NOT NULL, lc INTEGER, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, v INTEGER NOT NULL, type TEXT NOT NULL, lc INTEGER NOT NULL,
    clone TEXT NOT NULL, author TEXT NOT NULL, email TEXT NOT NULL, at INTEGER NOT NULL, text TEXT NOT NULL,
    data TEXT NOT NULL, local INTEGER NOT NULL, epoch INTEGER NOT NULL, place INTEGER NOT NULL DEFAULT 0);
CREATE TABLE epochs (log TEXT PRIMARY KEY, lowest INTEGER NOT NULL, doubted INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE strange (id TEXT PRIMARY KEY, ref TEXT NOT NULL, reason TEXT NOT NULL, newer INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE presence (
    clone TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL,
    data TEXT NOT NULL, seen REAL NOT NULL, lc INTEGER NOT NULL, PRIMARY KEY (clone, name)) WITHOUT ROWID;
CREATE TABLE heard (ref TEXT PRIMARY KEY, oid TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE shown (ref TEXT PRIMARY KEY, lc INTEGER NOT NULL, at INTEGER NOT NULL, seen REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX strange_ref ON strange (ref, newer, reason);
"""
INDEXES = "CREATE INDEX events_order ON events (lc);"  # few events have the same clock, so sorting them by id costs nothing
