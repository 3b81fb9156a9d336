"""Decides which tracked messages are asked next, and which are done."""
