"""Measurements of the paths that matter, run by hand as `python -m benchmarks.NAME`."""
