"""Which tracked messages are asked next, and who is done."""
