"""The form of the output where the line or the terminal asks for one: chosen fields, colours, a pager.

These modules may use `cli` around them and the rooms below. Begin with `fields`; `documents` lists what `--json` prints.
"""
