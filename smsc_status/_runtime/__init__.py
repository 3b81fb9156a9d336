"""The shell around the core: background work, HTTP and the event loop.

It asks the core what to do, waits, sends requests, and gives the results back to the core.
"""
