"""Reads rows: from files of `fetch` and `track`, from a table, and from outcomes in memory."""
