"""Measures the budgets, each figure beside its baseline of the same run: `python -m bench --help`."""
