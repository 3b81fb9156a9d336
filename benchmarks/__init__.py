"""Benchmarks, run by hand as `python -m benchmarks.NAME`."""
