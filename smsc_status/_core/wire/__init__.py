"""What is sent and what comes back: the four formats, one table of fields, and what a reply means."""
