"""Requests and replies: the four formats, one table of their fields, and what a reply means."""
