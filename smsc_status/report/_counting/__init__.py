"""Counts rows: how many were delivered, when, how fast, and why not. It does no I/O."""
